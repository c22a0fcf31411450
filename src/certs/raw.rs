//! Splits certificate files, and filters each certificate before sequoia parses it.
//!
//! Certificate files are hostile input: somebody can write one whose parsing takes seconds, because sequoia's
//! parser sorts and checks every packet. So the packets are looked at one by one first, and only those that
//! encryption needs are handed on: primary key, subkeys, User IDs and the certificate's own signatures, up to
//! a maximum number of each.

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

/// Largest certificate, in bytes. The largest in use are a few hundred kilobytes, most of it signatures by
/// others.
pub const MAX_BYTES: usize = 1 << 20;
/// Most certificates in one file: each takes some hundred bytes of memory, however small it is.
const MAX_CERTIFICATES: usize = 50_000;
/// Most User IDs, subkeys and own signatures of one certificate. A signature takes up to 0.1 ms to check, and
/// some milliseconds with the largest keys: so a made-up certificate cannot keep a process busy for more than
/// a second.
const MAX_USER_IDS: usize = 256;
const MAX_SUBKEYS: usize = 128;
const MAX_SIGNATURES: usize = 256;
/// Largest RSA exponent, in bits. Nearly all keys have 65537, which takes 17 bits.
const MAX_RSA_EXPONENT_BITS: usize = 32;
/// Largest DSA modulus that the standard defines, in bits (FIPS 186-4, section 4.2).
const MAX_DSA_BITS: usize = 3072;

const BEGIN: &[u8] = b"-----BEGIN PGP ";
const END: &[u8] = b"-----END PGP ";

/// The reason why data is not accepted as a certificate, in words for the log.
pub type Refusal = String;

/// The packets of one certificate. No signature has been checked.
#[derive(Clone, Debug)]
pub struct RawCert {
    /// All packets, in the order of the file.
    bytes: Arc<[u8]>,
    summary: Result<Arc<Summary>, Refusal>,
    /// The file that it was read from, printable, if it is from a file.
    pub file: Option<String>,
}

/// Claims of a certificate that can be read without checking a signature.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The fingerprint, in upper case hex.
    pub fingerprint: String,
    /// The addresses in its User IDs, normalised, valid or not.
    pub addresses: Vec<String>,
}

/// Splits `data` into certificates. The data is binary, or any number of armored blocks with any text around
/// them.
///
/// # Errors
///
/// Fails if the data is neither, holds no certificate or too many of them, if a block is damaged, or if
/// a certificate is larger than [`MAX_BYTES`].
pub fn read(data: &[u8]) -> Result<Vec<RawCert>, Refusal> {
    let is_armored = || memchr::memmem::find(data, BEGIN).is_some();
    let certs = match data {
        // Text around the armor can begin with such a byte, too: a byte order mark, or an umlaut.
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

/// Returns true if the checksum of an armored block does not match its content: the block has been damaged,
/// even if it can still be read. RFC 9580, section 6.1, wants readers to ignore the checksum, and [`read`]
/// does. This check is for the author who has pasted the block and can paste it again.
pub fn has_wrong_checksum(data: &[u8]) -> bool {
    blocks(data).map_while(Result::ok).any(|block| {
        let (written, content) = (written_checksum(block), dearmor(block));
        written.zip(content.ok()).is_some_and(|(written, content)| written != checksum(&content))
    })
}

/// Reads the checksum line (`=` and four digits) in front of the END line. Returns `None` if there is none.
fn written_checksum(block: &[u8]) -> Option<u32> {
    let body = block[..memchr::memmem::find(block, END)?].trim_ascii_end();
    let line = body.rsplit(|&b| b == b'\n').next()?.trim_ascii();
    let bytes = STANDARD.decode(line.strip_prefix(b"=")?).ok()?;
    let [high, middle, low] = bytes.try_into().ok()?;
    Some(u32::from_be_bytes([0, high, middle, low]))
}

/// Finds the armored blocks in `data`, each from its BEGIN line to the end of its END line.
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

/// Splits binary data in front of each primary key.
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

/// Reads fingerprint and addresses. No signature is checked.
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

/// Returns the body of a packet. sequoia's parser would take two microseconds, and a large keyring has half a
/// million packets.
fn body(packet: &[u8]) -> Option<&[u8]> {
    packet.get(Header::parse(packet).ok()??.size..)
}

impl RawCert {
    fn new(bytes: Vec<u8>) -> Self {
        let summary = summarise(&bytes).map(Arc::new);
        Self { bytes: bytes.into(), summary, file: None }
    }

    /// Returns the packets. They identify the certificate in the cache.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns true if it includes secret key material.
    pub fn has_secret(&self) -> bool {
        packets(&self.bytes).flatten().any(|(tag, _)| matches!(tag, tag::SECRET_KEY | tag::SECRET_SUBKEY))
    }

    /// Returns the certificate's claims about itself.
    ///
    /// # Errors
    ///
    /// Fails if the version or algorithm of the primary key is not supported.
    pub fn summary(&self) -> Result<&Arc<Summary>, &Refusal> {
        self.summary.as_ref()
    }

    /// Parses the packets that encryption needs. Secret key material is dropped.
    ///
    /// # Errors
    ///
    /// Fails if the certificate has more User IDs, subkeys or signatures than accepted, or if the primary key
    /// is not supported.
    pub fn certificate(&self) -> Result<Cert, Refusal> {
        let mut filter = Filter::default();
        for (tag, bytes) in packets(&self.bytes).flatten() {
            filter.packet(tag, bytes)?;
        }
        Cert::from_packets(filter.kept.into_iter())
            .map_err(|e| format!("it is not a certificate: {}", printable(e.to_string())))
    }
}

/// Returns the address in a User ID, normalised: the text in angle brackets at its end, or else the whole
/// User ID (RFC 9580, section 5.11; all software reads it like this). sequoia has a function for that, whose
/// regular expression takes a new process half a millisecond to build.
pub fn address_of(user_id: &UserID) -> Option<String> {
    // Old User IDs have names in other character sets than UTF-8.
    let text = String::from_utf8_lossy(user_id.value());
    let text = text.trim();
    let address = match text.strip_suffix('>') {
        Some(text) => text.rsplit_once('<')?.1,
        None => text,
    };
    address.contains('@').then(|| normalise(address))
}

/// Normalises an address for comparison: lower case, the domain in its ASCII form (IDNA).
pub fn normalise(address: &str) -> String {
    let ascii = |(local, domain)| Some(format!("{local}@{}", idna::domain_to_ascii(domain).ok()?));
    address.rsplit_once('@').and_then(ascii).unwrap_or_else(|| address.to_owned()).to_lowercase()
}

/// The component that the next signature belongs to.
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
            // User attributes (photos), trust packets, and packet types of the future.
            _ => self.component = Component::Dropped,
        }
        Ok(())
    }

    /// A subkey of an unknown algorithm is dropped: other subkeys may still serve. A subkey that can only
    /// sign is dropped because it is not needed, and its signatures would take time to check.
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
            // A revocation counts wherever it stands: somebody may have appended it to the file, behind the
            // last subkey.
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
            // Too many signatures are an error. Ignoring the rest could ignore the revocation.
            count(&mut self.signatures, MAX_SIGNATURES, "signatures of its own")?;
            self.kept.push(signature.into());
        }
        Ok(())
    }
}

fn count(counter: &mut usize, max: usize, what: &str) -> Result<(), Refusal> {
    *counter += 1;
    if *counter > max {
        return Err(format!(
            "it has more than {max} {what}: export it anew with `gpg --export-options export-minimal`"
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

/// Returns false for keys with such large numbers that a signature takes a hundred times longer to check than
/// with usual keys. OpenSSL accepts them.
fn is_quick(key: &mpi::PublicKey) -> bool {
    match key {
        mpi::PublicKey::RSA { e, .. } => e.bits() <= MAX_RSA_EXPONENT_BITS,
        mpi::PublicKey::DSA { p, .. } => p.bits() <= MAX_DSA_BITS,
        _ => true,
    }
}
