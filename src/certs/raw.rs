//! From bytes that anybody may have written to certificates that are safe to work with.
//!
//! A certificate file is hostile input: a parser that sorts every packet of it into place can be
//! kept busy for seconds. So the packets are looked at one by one first, and only what encryption
//! needs goes on: primary key, subkeys, User IDs, the certificate's own signatures, with a cap on
//! their number.

use sequoia_openpgp as openpgp;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use openpgp::armor;
use openpgp::crypto::mpi;
use openpgp::packet::{key, Key, Packet, UserID};
use openpgp::parse::Parse;
use openpgp::types::SignatureType;
use openpgp::{Cert, KeyHandle};

use std::io::Read;
use std::sync::Arc;

use crate::log::printable;
use crate::openpgp::armor::checksum;
use crate::openpgp::packet::{packets, tag, Header};

/// Largest certificate, in bytes. The largest in use, with tens of thousands of signatures of
/// others, are a few hundred kilobytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Most certificates in one file: each takes some hundred bytes of memory, however small it is.
const MAX_CERTIFICATES: usize = 50_000;
/// Most User IDs, subkeys and own signatures of one certificate. A signature takes up to 0.1 ms to
/// check, and some milliseconds with the largest keys, so this bounds the time that a made-up certificate can take.
const MAX_USER_IDS: usize = 256;
const MAX_SUBKEYS: usize = 128;
const MAX_SIGNATURES: usize = 256;
/// 17 bits are usual.
const MAX_RSA_EXPONENT_BITS: usize = 32;
/// The largest that there is (FIPS 186-4, section 4.2).
const MAX_DSA_BITS: usize = 3072;

const BEGIN: &[u8] = b"-----BEGIN PGP ";
const END: &[u8] = b"-----END PGP ";

/// Why a piece of data is not taken for a certificate, in words for the log.
pub type Refusal = String;

/// One certificate as it was found, not checked.
#[derive(Clone, Debug)]
pub struct RawCert {
    /// Its packets, in their order.
    bytes: Arc<[u8]>,
    summary: Result<Arc<Summary>, Refusal>,
    /// The file that it was in, printable, where that is known.
    pub file: Option<String>,
}

/// What can be told of a certificate without checking a signature.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The fingerprint, in upper case hex.
    pub fingerprint: String,
    /// The addresses in its User IDs, normalised, whether they are valid or not.
    pub addresses: Vec<String>,
}

/// All certificates in `data`, armored (any number of blocks, with any text around them) or binary.
///
/// # Errors
///
/// The data is neither, a block is damaged, or a certificate is larger than [`MAX_BYTES`].
pub fn read(data: &[u8]) -> Result<Vec<RawCert>, Refusal> {
    let is_armored = || memchr::memmem::find(data, BEGIN).is_some();
    let certs = match data {
        // The text around the armor may begin like a packet: with a byte order mark, or an umlaut.
        [0x80..=0xff, ..] => {
            split(data).or_else(|why| if is_armored() { read_armored(data) } else { Err(why) })?
        }
        _ => read_armored(data)?,
    };
    if certs.is_empty() {
        return Err("it holds no OpenPGP certificate".into());
    }
    Ok(certs)
}

fn read_armored(data: &[u8]) -> Result<Vec<RawCert>, Refusal> {
    let mut certs = Vec::new();
    for block in blocks(data) {
        certs.extend(split(&dearmor(block?)?)?);
    }
    Ok(certs)
}

/// Whether an armored block in `data` has a checksum that is not that of its content: it has been
/// damaged, even if what it says can still be read. RFC 9580 (section 6.1) wants readers to overlook
/// that, and [`read`] does. It is meant for who has pasted the text and can do it again.
pub fn has_wrong_checksum(data: &[u8]) -> bool {
    blocks(data).map_while(Result::ok).any(|block| {
        let (written, content) = (written_checksum(block), dearmor(block));
        written.zip(content.ok()).is_some_and(|(written, content)| written != checksum(&content))
    })
}

/// What the line in front of the END line says, if it is the line of a checksum: `=` and four digits.
fn written_checksum(block: &[u8]) -> Option<u32> {
    let body = block[..memchr::memmem::find(block, END)?].trim_ascii_end();
    let line = body.rsplit(|&b| b == b'\n').next()?.trim_ascii();
    let bytes = STANDARD.decode(line.strip_prefix(b"=")?).ok()?;
    let [high, middle, low] = bytes.try_into().ok()?;
    Some(u32::from_be_bytes([0, high, middle, low]))
}

/// The armored blocks in `data`, from the BEGIN line to the end of the END line.
fn blocks(data: &[u8]) -> impl Iterator<Item = Result<&[u8], Refusal>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let block = &rest[memchr::memmem::find(rest, BEGIN)?..];
        let Some(end) = memchr::memmem::find(block, END) else {
            rest = &[];
            return Some(Err("its armor has no END line: it is cut off".into()));
        };
        let line_end = memchr::memchr(b'\n', &block[end..]).map_or(block.len(), |n| end + n + 1);
        let (block, after) = block.split_at(line_end);
        rest = after;
        Some(Ok(block))
    })
}

fn dearmor(block: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut reader = armor::Reader::from_bytes(block, armor::ReaderMode::Tolerant(None));
    let mut data = Vec::new();
    reader.read_to_end(&mut data).map_err(|_| "its armor is damaged")?;
    match reader.kind() {
        Some(armor::Kind::PublicKey | armor::Kind::SecretKey) => Ok(data),
        _ => Err("it is armored, but not a certificate (PGP PUBLIC KEY BLOCK)".into()),
    }
}

/// Cuts binary data in front of each primary key.
fn split(data: &[u8]) -> Result<Vec<RawCert>, Refusal> {
    let mut certs: Vec<Vec<u8>> = Vec::new();
    for packet in packets(data) {
        let (tag, bytes) = packet.map_err(|_| "it is damaged: its packets do not fit together")?;
        if matches!(tag, tag::PUBLIC_KEY | tag::SECRET_KEY) {
            if certs.len() == MAX_CERTIFICATES {
                return Err(format!("it holds more than {MAX_CERTIFICATES} certificates"));
            }
            certs.push(Vec::new());
        }
        let cert = certs.last_mut().ok_or("it does not begin with a primary key")?;
        cert.extend_from_slice(bytes);
        if cert.len() > MAX_BYTES {
            return Err(format!("a certificate in it is larger than {} KiB", MAX_BYTES >> 10));
        }
    }
    Ok(certs.into_iter().map(RawCert::new).collect())
}

/// What a certificate says of itself.
fn summarise(cert: &[u8]) -> Result<Summary, Refusal> {
    let mut fingerprint = None;
    let mut addresses = Vec::new();
    for (tag, bytes) in packets(cert).flatten() {
        match tag {
            tag::PUBLIC_KEY | tag::SECRET_KEY => {
                fingerprint = Some(primary_key(bytes)?.fingerprint().to_hex())
            }
            tag::USER_ID if addresses.len() < MAX_USER_IDS => {
                addresses.extend(body(bytes).and_then(|body| address_of(&body.into())));
            }
            _ => {}
        }
    }
    Ok(Summary { fingerprint: fingerprint.ok_or("it has no primary key")?, addresses })
}

/// What is in a packet. Without sequoia's parser, which takes two microseconds for each of half a million packets.
fn body(packet: &[u8]) -> Option<&[u8]> {
    packet.get(Header::parse(packet).ok()??.size..)
}

impl RawCert {
    fn new(bytes: Vec<u8>) -> Self {
        let summary = summarise(&bytes).map(Arc::new);
        Self { bytes: bytes.into(), summary, file: None }
    }

    /// The packets. Two certificates with the same bytes are the same.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether secret key material is in it.
    pub fn has_secret(&self) -> bool {
        packets(&self.bytes).flatten().any(|(tag, _)| matches!(tag, tag::SECRET_KEY | tag::SECRET_SUBKEY))
    }

    /// What the certificate says of itself.
    ///
    /// # Errors
    ///
    /// The primary key is not understood.
    pub fn summary(&self) -> Result<&Arc<Summary>, &Refusal> {
        self.summary.as_ref()
    }

    /// The certificate, made of what encryption needs and nothing else. Secret parts are dropped.
    ///
    /// # Errors
    ///
    /// There is more in it than any honest certificate has, or a primary key is not understood.
    pub fn certificate(&self) -> Result<Cert, Refusal> {
        let mut filter = Filter::default();
        for (tag, bytes) in packets(&self.bytes).flatten() {
            filter.packet(tag, bytes)?;
        }
        Cert::from_packets(filter.kept.into_iter())
            .map_err(|e| format!("it is not a certificate: {}", printable(e.to_string())))
    }
}

/// The address in a User ID, in the form in which addresses are compared: what stands in angle brackets at its end, or
/// all of it (RFC 9580, section 5.11, and what all software makes of it). sequoia finds the same with a regular
/// expression that takes a new process half a millisecond to build.
pub fn address_of(user_id: &UserID) -> Option<String> {
    // Old ones have names in other character sets.
    let text = String::from_utf8_lossy(user_id.value());
    let text = text.trim();
    let address = match text.strip_suffix('>') {
        Some(text) => text.rsplit_once('<')?.1,
        None => text,
    };
    address.contains('@').then(|| normalise(address))
}

/// An address in the form in which addresses are compared: lower case, the domain in its ASCII form.
pub fn normalise(address: &str) -> String {
    let ascii = |(local, domain)| Some(format!("{local}@{}", idna::domain_to_ascii(domain).ok()?));
    address.rsplit_once('@').and_then(ascii).unwrap_or_else(|| address.to_owned()).to_lowercase()
}

/// What a signature that follows is about.
#[derive(Clone, Copy, Default)]
enum Component {
    #[default]
    Dropped,
    Primary,
    UserId,
    Subkey,
}

#[derive(Default)]
struct Filter {
    kept: Vec<Packet>,
    primary: Option<KeyHandle>,
    component: Component,
    user_ids: usize,
    subkeys: usize,
    signatures: usize,
}

impl Filter {
    fn packet(&mut self, tag: u8, bytes: &[u8]) -> Result<(), Refusal> {
        match tag {
            tag::PUBLIC_KEY | tag::SECRET_KEY => {
                let key = primary_key(bytes)?;
                self.primary = Some(key.fingerprint().into());
                self.keep(Component::Primary, key.into());
            }
            tag::USER_ID => {
                count(&mut self.user_ids, MAX_USER_IDS, "User IDs")?;
                self.keep_if_understood(Component::UserId, bytes);
            }
            tag::PUBLIC_SUBKEY | tag::SECRET_SUBKEY => {
                count(&mut self.subkeys, MAX_SUBKEYS, "subkeys")?;
                self.keep_if_understood(Component::Subkey, bytes);
            }
            tag::SIGNATURE => return self.signature(bytes),
            // User attributes (photos), trust packets and what comes in future.
            _ => self.component = Component::Dropped,
        }
        Ok(())
    }

    /// A subkey may be of an algorithm to come: then the others have to serve. One that can only sign is of no
    /// use, and its signatures take long to check.
    fn keep_if_understood(&mut self, component: Component, bytes: &[u8]) {
        let packet = match Packet::from_bytes(bytes) {
            Ok(Packet::SecretSubkey(key)) => key.take_secret().0.into(),
            Ok(packet) => packet,
            Err(_) => return self.component = Component::Dropped,
        };
        match &packet {
            Packet::PublicSubkey(key) if !key.pk_algo().for_encryption() => {
                self.component = Component::Dropped
            }
            Packet::UserID(_) | Packet::PublicSubkey(_) => self.keep(component, packet),
            _ => self.component = Component::Dropped,
        }
    }

    fn keep(&mut self, component: Component, packet: Packet) {
        self.component = component;
        self.kept.push(packet);
    }

    fn signature(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let Ok(Packet::Signature(signature)) = Packet::from_bytes(bytes) else { return Ok(()) };
        let belongs = match self.component {
            // Wherever it stands: behind the last subkey, if somebody has appended it to the file.
            _ if signature.typ() == SignatureType::KeyRevocation => true,
            Component::Dropped => false,
            Component::Primary => signature.typ() == SignatureType::DirectKey,
            Component::Subkey => {
                matches!(signature.typ(), SignatureType::SubkeyBinding | SignatureType::SubkeyRevocation)
            }
            Component::UserId => matches!(
                signature.typ(),
                SignatureType::GenericCertification
                    | SignatureType::PersonaCertification
                    | SignatureType::CasualCertification
                    | SignatureType::PositiveCertification
                    | SignatureType::CertificationRevocation
            ),
        };
        let issuers = signature.get_issuers();
        let own =
            issuers.is_empty() || self.primary.as_ref().is_some_and(|p| issuers.iter().any(|i| i.aliases(p)));
        if belongs && own {
            // Not cut, but refused: the signature behind the last could be the revocation.
            count(&mut self.signatures, MAX_SIGNATURES, "signatures of its own")?;
            self.kept.push(signature.into());
        }
        Ok(())
    }
}

fn count(counter: &mut usize, most: usize, what: &str) -> Result<(), Refusal> {
    *counter += 1;
    if *counter > most {
        return Err(format!(
            "it has more than {most} {what}: export it anew with `gpg --export-options export-minimal`"
        ));
    }
    Ok(())
}

fn primary_key(bytes: &[u8]) -> Result<Key<key::PublicParts, key::PrimaryRole>, Refusal> {
    let key = match Packet::from_bytes(bytes) {
        Ok(Packet::PublicKey(key)) => key,
        Ok(Packet::SecretKey(key)) => key.take_secret().0,
        _ => return Err("its primary key is of a version or algorithm that is not supported".into()),
    };
    if !is_quick(key.mpis()) {
        return Err("its primary key is made of larger numbers than any in use: make a new key".into());
    }
    Ok(key)
}

/// Whether a signature is checked in the time that honest keys take. With the largest numbers that OpenSSL
/// takes, it is some hundred times as long.
fn is_quick(key: &mpi::PublicKey) -> bool {
    match key {
        mpi::PublicKey::RSA { e, .. } => e.bits() <= MAX_RSA_EXPONENT_BITS,
        mpi::PublicKey::DSA { p, .. } => p.bits() <= MAX_DSA_BITS,
        _ => true,
    }
}
