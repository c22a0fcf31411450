//! All that a source has of one certificate, put together and filtered before sequoia parses it.
//!
//! Certificates are hostile input: somebody can write one whose parsing takes seconds, because sequoia's parser sorts and
//! checks every packet. So the packets are looked at one by one first, and only those that encryption needs are handed on:
//! primary key, subkeys, User IDs and the certificate's own signatures, up to a maximum number of each.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use sequoia_openpgp::packet::Packet;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::types::SignatureType;
use sequoia_openpgp::{Cert, KeyHandle};

use super::cache::Cache;
use super::post_quantum;
use super::raw::{key_id, primary_key, RawCert, Revocation, MAX_USER_IDS};
use super::trouble::Refusal;
use crate::log::printable;
use crate::openpgp::packet::{packets, tag};

/// Most subkeys and own signatures of one certificate. A signature takes up to 0.1 ms to check: so a made-up certificate
/// cannot keep a process busy for long.
const MAX_SUBKEYS: usize = 128;
const MAX_SIGNATURES: usize = 256;
/// Most packets that sequoia gets, copies included.
const MAX_PACKETS: usize = 4096;
/// The RSA modulus, in bits, up to which a signature counts as one. The time to check it grows with the square.
const USUAL_RSA_BITS: usize = 4096;
/// The bytes of parsed certificates that are cached: a thousand usual ones of some kilobytes, or eight of the
/// largest size.
const MAX_REMEMBERED_BYTES: usize = 8 << 20;

/// All copies of one certificate in a source. A revocation in one of them holds for all.
#[derive(Clone, Debug)]
pub struct Copies {
    /// The fingerprint, in upper case hex.
    pub fingerprint: String,
    /// The copies, at least one.
    pub certs: Vec<RawCert>,
    /// Revocations that stand beside it.
    pub revocations: Vec<Revocation>,
    /// True if they are from a shared certificate directory, where anybody's material may lie.
    pub is_shared: bool,
}

/// Puts the copies of each certificate together, with what revokes it.
pub fn grouped(certs: Vec<RawCert>, revocations: &[Revocation]) -> Vec<Copies> {
    let mut groups: BTreeMap<String, Vec<RawCert>> = BTreeMap::new();
    for cert in certs {
        let Ok(fingerprint) = cert.summary().map(|summary| summary.fingerprint.clone()) else { continue };
        groups.entry(fingerprint).or_default().push(cert);
    }
    let copies = |(fingerprint, certs): (String, Vec<RawCert>)| {
        let id = key_id(&fingerprint);
        let revocations = revocations.iter().filter(|r| r.revokes.contains(&id)).cloned().collect();
        Copies { fingerprint, certs, revocations, is_shared: false }
    };
    groups.into_iter().map(copies).collect()
}

impl Copies {
    /// Adds copies of the same certificate.
    pub fn add(&mut self, more: Self) {
        self.certs.extend(more.certs);
        self.revocations.extend(more.revocations);
        self.is_shared &= more.is_shared;
    }

    /// Returns true if a copy includes secret key material.
    pub fn has_secret(&self) -> bool {
        self.certs.iter().any(RawCert::has_secret)
    }

    /// Returns true if a copy claims the address, which is normalised.
    pub fn claims(&self, address: &str) -> bool {
        let summaries = self.certs.iter().filter_map(|cert| cert.summary().ok());
        summaries.flat_map(|summary| &summary.addresses).any(|claimed| claimed == address)
    }

    /// Returns the files of the copies, printable. Certificates in a setting or a script have none.
    pub fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = self.certs.iter().filter_map(|cert| cert.file.clone()).collect();
        files.dedup();
        files
    }

    /// Parses the packets that encryption needs. Secret key material is dropped. The result is cached by its bytes, because
    /// parsing checks every signature.
    ///
    /// # Errors
    ///
    /// Fails if the certificate has more User IDs, subkeys or signatures than accepted, or if the primary key
    /// is not supported.
    pub fn certificate(&self) -> Result<Arc<Cert>, Refusal> {
        static PARSED: Cache<Vec<u8>, Cert> = Cache::new(MAX_REMEMBERED_BYTES);
        let copies = self.certs.iter().map(RawCert::bytes);
        let all = copies.chain(self.revocations.iter().map(|revocation| &*revocation.bytes));
        let bytes = all.collect::<Vec<_>>().concat();
        match PARSED.get(&bytes[..]) {
            Some(cert) => Ok(cert),
            None => {
                let (cert, weight) = (parse(&bytes)?, bytes.len());
                Ok(PARSED.put(bytes, cert, weight))
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Cert, Refusal> {
    let mut filter = Filter::default();
    for (tag, packet) in packets(bytes).flatten() {
        filter.packet(tag, packet)?;
    }
    Cert::from_packets(filter.kept.into_iter())
        .map_err(|e| format!("it is not a certificate: {}", printable(e.to_string())))
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
struct Filter<'a> {
    kept: Vec<Packet>,
    /// What has been seen: copies of a packet are not counted.
    seen: HashSet<&'a [u8]>,
    primary: Option<KeyHandle>,
    /// What a signature of this key counts for.
    cost: usize,
    component: Component,
    user_ids: usize,
    subkeys: usize,
    signatures: usize,
}

impl<'a> Filter<'a> {
    fn packet(&mut self, tag: u8, bytes: &'a [u8]) -> Result<(), Refusal> {
        match tag {
            // Another copy of the certificate begins.
            tag::PUBLIC_KEY | tag::SECRET_KEY if self.primary.is_some() => {
                self.component = Component::Primary
            }
            tag::PUBLIC_KEY | tag::SECRET_KEY => {
                let key = primary_key(bytes)?;
                self.primary = Some(key.fingerprint().into());
                self.cost = key.mpis().bits().map_or(1, |bits| bits.div_ceil(USUAL_RSA_BITS).pow(2));
                self.keep(Component::Primary, key.into());
            }
            tag::USER_ID => {
                self.count(bytes, MAX_USER_IDS, "User IDs", |filter| (&mut filter.user_ids, 1))?;
                self.keep_if_understood(Component::UserId, bytes);
            }
            tag::PUBLIC_SUBKEY | tag::SECRET_SUBKEY => {
                self.count(bytes, MAX_SUBKEYS, "subkeys", |filter| (&mut filter.subkeys, 1))?;
                self.keep_if_understood(Component::Subkey, bytes);
            }
            tag::SIGNATURE => self.signature(bytes)?,
            // The signatures behind it are about the photo.
            tag::USER_ATTRIBUTE => self.component = Component::Dropped,
            // Trust packets of GnuPG, markers, padding, and packet types of the future stand between a component and its
            // signatures.
            _ => {}
        }
        if self.kept.len() > MAX_PACKETS {
            return Err(format!("it has more than {MAX_PACKETS} packets in all copies: remove old ones"));
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
            Packet::Unknown(subkey) => {
                self.kept.extend(post_quantum::beginning(subkey));
                self.component = Component::Dropped;
            }
            _ => self.component = Component::Dropped,
        }
    }

    fn keep(&mut self, component: Component, packet: Packet) {
        self.component = component;
        self.kept.push(packet);
    }

    fn signature(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        if self.seen.contains(bytes) {
            return Ok(());
        }
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
            self.count(bytes, MAX_SIGNATURES, "signatures of its own", |filter| {
                (&mut filter.signatures, filter.cost)
            })?;
            self.kept.push(signature.into());
        }
        Ok(())
    }

    /// Counts a packet, unless it is a copy.
    fn count(
        &mut self,
        bytes: &'a [u8],
        max: usize,
        what: &str,
        counter: impl Fn(&mut Self) -> (&mut usize, usize),
    ) -> Result<(), Refusal> {
        if !self.seen.insert(bytes) {
            return Ok(());
        }
        let (counter, cost) = counter(self);
        *counter += cost;
        if *counter > max {
            let export = "export it anew with `gpg --export-options export-minimal`";
            return Err(format!("it has more than {max} {what}: {export}"));
        }
        Ok(())
    }
}
