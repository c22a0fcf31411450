//! Splits packets and DER into certificates. What is wrong with one of them takes nothing away from the others.

use std::collections::VecDeque;

use sequoia_openpgp::packet::Packet;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::types::SignatureType;
use sequoia_openpgp::KeyID;

use super::raw::{RawCert, Revocation, Summary, MAX_BYTES};
use super::text::{Part, Position};
use super::trouble::{Problem, Trouble, PRIVATE_KEY};
use super::x509;
use crate::openpgp::packet::{tag, BodyLength, Header};
use crate::openssl::x509::X509;

/// What a file holds.
#[derive(Debug)]
pub enum Item {
    /// A certificate.
    Certificate(RawCert),
    /// A revocation without the certificate.
    Revocation(Revocation),
    /// What cannot be used.
    Unusable(Problem),
}

impl Item {
    /// Makes an item of a constant text.
    pub fn unusable(why: &str) -> Self {
        Self::Unusable(Problem { why: why.to_owned(), ..Problem::default() })
    }
}

/// Takes an item, the place where its packets begin, and how many bytes they are.
pub type Take<'a> = dyn FnMut(Item, Position, usize) -> Result<(), Trouble> + 'a;

/// Splits packets and DER, which come in pieces.
pub struct Splitter<'a> {
    take: &'a mut Take<'a>,
    /// Bytes of packets that are not complete, and where each piece of them comes from.
    pending: Vec<u8>,
    origins: VecDeque<(usize, Position)>,
    /// The bytes that are still to come of a packet that is too large.
    skip: usize,
    cert: Option<Unfinished>,
    /// True if the rest of the block cannot be told apart.
    is_lost: bool,
}

struct Unfinished {
    bytes: Vec<u8>,
    begins: Position,
    size: usize,
}

impl Unfinished {
    fn is_too_large(&self) -> bool {
        self.size > MAX_BYTES
    }

    fn add(&mut self, packet: &[u8], size: usize) {
        self.size += size;
        if !self.is_too_large() {
            self.bytes.extend_from_slice(packet);
        }
    }
}

impl<'a> Splitter<'a> {
    /// Makes a splitter that hands what it finds to `take`.
    pub fn new(take: &'a mut Take<'a>) -> Self {
        Self { take, pending: Vec::new(), origins: VecDeque::new(), skip: 0, cert: None, is_lost: false }
    }

    /// Takes what has been read of a file.
    ///
    /// # Errors
    ///
    /// Fails if whoever takes the items does.
    pub fn part(&mut self, part: Part<'_>) -> Result<(), Trouble> {
        match part {
            Part::Bytes(..) if self.is_lost => Ok(()),
            Part::Bytes(at, bytes) => {
                let skip = self.skip.min(bytes.len());
                self.skip -= skip;
                let rest = &bytes[skip..];
                if !rest.is_empty() {
                    self.origins.push_back((rest.len(), Position { at, skip: skip as u32 }));
                    self.pending.extend_from_slice(rest);
                }
                self.packets()
            }
            Part::PrivateKey => (self.take)(Item::unusable(PRIVATE_KEY), Position::default(), 0),
            Part::Checksum(_) => Ok(()),
            Part::End(wrong) => self.end(wrong),
        }
    }

    fn packets(&mut self) -> Result<(), Trouble> {
        let pending = std::mem::take(&mut self.pending);
        let mut done = 0;
        while done < pending.len() {
            let rest = &pending[done..];
            if x509::is_der(rest) {
                match x509::size(rest) {
                    Ok(Some(size)) if size <= X509::LONGEST && size > rest.len() => break,
                    Ok(Some(size)) => {
                        let object = &rest[..size.min(rest.len())];
                        self.der(object, size)?;
                        self.skip = size - object.len();
                        self.advance(object.len());
                        done += object.len();
                        continue;
                    }
                    Ok(None) => break,
                    Err(()) => return self.lose("it is damaged: its packets do not fit together"),
                }
            }
            let (tag, size) = match Header::parse(rest) {
                Ok(None) => break,
                Ok(Some(Header { tag, length: BodyLength::Full(length), size })) => {
                    (tag, usize::try_from(length).ok().and_then(|length| length.checked_add(size)))
                }
                // Packets of another length only hold data, never keys (RFC 9580, section 4.2.1.4).
                Ok(Some(_)) | Err(_) => (0, None),
            };
            let Some(size) = size else {
                // An editor or a transfer has added something at the end: the certificate in front is complete.
                if matches!(rest.first(), Some(b'\r' | b'\n' | b' ' | 0)) {
                    self.finish()?;
                }
                return self.lose("it is damaged: its packets do not fit together");
            };
            if size <= MAX_BYTES && size > rest.len() {
                break;
            }
            let packet = &rest[..size.min(rest.len())];
            self.packet(tag, packet, size)?;
            self.skip = size - packet.len();
            self.advance(packet.len());
            done += packet.len();
        }
        self.pending = pending;
        self.pending.drain(..done);
        Ok(())
    }

    /// Notes that `count` bytes more have been split.
    fn advance(&mut self, mut count: usize) {
        while let Some((left, position)) = self.origins.front_mut().filter(|_| count > 0) {
            let step = count.min(*left);
            *left -= step;
            position.skip += step as u32;
            count -= step;
            if *left == 0 {
                self.origins.pop_front();
            }
        }
    }

    /// Takes a packet of `size` bytes, of which `packet` is the beginning if it is larger than a certificate may be.
    fn packet(&mut self, tag: u8, packet: &[u8], size: usize) -> Result<(), Trouble> {
        let begins = self.origins.front().map(|&(_, position)| position).unwrap_or_default();
        if matches!(tag, tag::PUBLIC_KEY | tag::SECRET_KEY) {
            self.finish()?;
            self.cert = Some(Unfinished { bytes: Vec::new(), begins, size: 0 });
        }
        match &mut self.cert {
            Some(cert) => cert.add(packet, size),
            None if tag == tag::SIGNATURE => {
                if let Some(revocation) = revocation(packet) {
                    (self.take)(Item::Revocation(revocation), begins, size)?;
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Takes a DER object of `size` bytes, of which `object` is the beginning if it is larger than a certificate may be.
    fn der(&mut self, object: &[u8], size: usize) -> Result<(), Trouble> {
        let begins = self.origins.front().map(|&(_, position)| position).unwrap_or_default();
        self.finish()?;
        if size > X509::LONGEST {
            let why = format!("a certificate in it is larger than {} KiB", X509::LONGEST >> 10);
            return (self.take)(Item::unusable(&why), begins, size);
        }
        let raw = RawCert::new(object.to_vec());
        match raw.summary() {
            Ok(_) => (self.take)(Item::Certificate(raw), begins, size),
            Err(why) => (self.take)(Item::unusable(why), begins, size),
        }
    }

    fn finish(&mut self) -> Result<(), Trouble> {
        let Some(cert) = self.cert.take() else { return Ok(()) };
        let (begins, size, is_too_large) = (cert.begins, cert.size, cert.is_too_large());
        let raw = RawCert::new(cert.bytes);
        let why = match raw.summary() {
            Ok(Summary { fingerprint, .. }) if is_too_large => {
                let export = "export it anew with `gpg --export-options export-minimal`";
                format!("certificate {fingerprint} is larger than {} KiB: {export}", MAX_BYTES >> 10)
            }
            Ok(_) => return (self.take)(Item::Certificate(raw), begins, size),
            Err(why) => why.clone(),
        };
        (self.take)(unusable(why, &raw), begins, size)
    }

    fn lose(&mut self, why: &str) -> Result<(), Trouble> {
        self.is_lost = true;
        (self.pending, self.origins, self.skip) = Default::default();
        let cert = RawCert::new(self.cert.take().map(|cert| cert.bytes).unwrap_or_default());
        let name = cert
            .summary()
            .map(|summary| format!("certificate {}: ", summary.fingerprint))
            .unwrap_or_default();
        (self.take)(unusable(format!("{name}{why}"), &cert), Position::default(), 0)
    }

    fn end(&mut self, wrong: Option<&str>) -> Result<(), Trouble> {
        let is_cut = !self.pending.is_empty() || self.skip > 0;
        let is_cut = is_cut.then_some("it is cut off: its packets do not fit together");
        match wrong.or(is_cut) {
            Some(_) if self.is_lost => {}
            Some(why) => self.lose(why)?,
            None => self.finish()?,
        }
        self.is_lost = false;
        Ok(())
    }
}

fn unusable(why: String, cert: &RawCert) -> Item {
    Item::Unusable(Problem { file: None, why, claims: cert.claims() })
}

/// Returns the revocation that a signature packet is, if it is one.
pub fn revocation(packet: &[u8]) -> Option<Revocation> {
    const KEY_REVOCATION: u8 = 0x20;
    let header = Header::parse(packet).ok()??;
    // Version and type stand first, from version 4 on (RFC 9580, section 5.2.3): a look at them is quicker than the parser.
    if packet.get(header.size + 1) != Some(&KEY_REVOCATION) {
        return None;
    }
    let Packet::Signature(signature) = Packet::from_bytes(packet).ok()? else { return None };
    let revokes =
        signature.get_issuers().into_iter().map(|issuer| KeyID::from(issuer).to_hex()).collect::<Vec<_>>();
    let is_one = signature.typ() == SignatureType::KeyRevocation && !revokes.is_empty();
    is_one.then(|| Revocation { revokes, bytes: packet.to_vec() })
}
