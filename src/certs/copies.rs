//! All that a source has of one certificate, put together and filtered before sequoia parses it.
//!
//! Certificates are hostile input: somebody can write one whose parsing takes seconds, because sequoia's parser sorts and
//! checks every packet. So the packets are looked at one by one first, and only those that encryption needs are handed on:
//! primary key, subkeys, User IDs and the certificate's own signatures, up to a maximum number of each.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use sequoia_openpgp::packet::{key, Key, Packet, Signature};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::types::SignatureType;
use sequoia_openpgp::{Cert, KeyHandle};

use super::cache::Cache;
use super::raw::{key_id, primary_key, RawCert, Revocation, MAX_USER_IDS};
use super::trouble::Refusal;
use super::{post_quantum, x509};
use crate::log::printable;
use crate::openpgp::packet::{packets, tag};
use crate::openssl::x509::X509;

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

/// A certificate of one of the two kinds.
#[derive(Clone, Debug)]
pub enum Certificate {
    /// OpenPGP.
    OpenPgp(Arc<Cert>),
    /// X.509, for S/MIME.
    X509(Arc<X509>),
}

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

    /// Returns true if it is an X.509 certificate.
    pub fn is_x509(&self) -> bool {
        self.certs.first().is_some_and(RawCert::is_x509)
    }

    /// Returns true if a copy includes secret key material.
    pub fn has_secret(&self) -> bool {
        self.certs.iter().any(RawCert::has_secret)
    }

    /// Returns true if a copy claims the address, which is normalised.
    pub fn claims(&self, address: &str) -> bool {
        self.addresses().any(|claimed| claimed == address)
    }

    /// Returns true if both claim an address.
    pub fn shares_an_address(&self, other: &Self) -> bool {
        self.addresses().any(|claimed| other.claims(claimed))
    }

    fn addresses(&self) -> impl Iterator<Item = &String> {
        let summaries = self.certs.iter().filter_map(|cert| cert.summary().ok());
        summaries.flat_map(|summary| &summary.addresses)
    }

    /// Returns the files of the copies, printable. Certificates in a setting or a script have none.
    pub fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = self.certs.iter().filter_map(|cert| cert.file.clone()).collect();
        files.dedup();
        files
    }

    /// Parses the certificate.
    ///
    /// # Errors
    ///
    /// Those of [`Copies::certificate`]; or the certificate is of X.509, and cannot be read.
    pub fn parse(&self) -> Result<Certificate, Refusal> {
        match self.certs.first().filter(|raw| raw.is_x509()) {
            Some(raw) => Ok(Certificate::X509(Arc::new(x509::read(raw.bytes())?))),
            None => self.certificate().map(Certificate::OpenPgp),
        }
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
    // They come last: no signature belongs to them.
    let librepgp = filter.librepgp.into_iter().map(post_quantum::librepgp_subkey);
    Cert::from_packets(filter.kept.into_iter().chain(librepgp))
        .map_err(|e| format!("it is not a certificate: {}", printable(e.to_string())))
}

#[derive(Default)]
struct Filter<'a> {
    kept: Vec<Packet>,
    /// What has been seen: copies of a packet are not counted.
    seen: HashSet<&'a [u8]>,
    primary: Option<Key<key::PublicParts, key::PrimaryRole>>,
    /// What a signature of this key counts for.
    cost: usize,
    /// The number of the packet in `kept` to which the next signature belongs; `None` if that was left out.
    component: Option<usize>,
    /// The beginnings of subkeys in GnuPG's own format.
    librepgp: BTreeSet<Vec<u8>>,
    user_ids: usize,
    subkeys: usize,
    signatures: usize,
}

impl<'a> Filter<'a> {
    fn packet(&mut self, tag: u8, bytes: &'a [u8]) -> Result<(), Refusal> {
        match tag {
            // Another copy of the certificate begins.
            tag::PUBLIC_KEY | tag::SECRET_KEY if self.primary.is_some() => self.component = Some(0),
            tag::PUBLIC_KEY | tag::SECRET_KEY => {
                let key = primary_key(bytes)?;
                self.primary = Some(key.clone());
                self.cost = key.mpis().bits().map_or(1, |bits| bits.div_ceil(USUAL_RSA_BITS).pow(2));
                self.keep(key.into());
            }
            tag::USER_ID => {
                self.count(bytes, MAX_USER_IDS, "User IDs", |filter| (&mut filter.user_ids, 1))?;
                self.keep_if_understood(bytes);
            }
            tag::PUBLIC_SUBKEY | tag::SECRET_SUBKEY => {
                self.count(bytes, MAX_SUBKEYS, "subkeys", |filter| (&mut filter.subkeys, 1))?;
                self.keep_if_understood(bytes);
            }
            tag::SIGNATURE => self.signature(bytes)?,
            // The signatures behind it are about the photo.
            tag::USER_ATTRIBUTE => self.component = None,
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
    fn keep_if_understood(&mut self, bytes: &[u8]) {
        self.component = None;
        let packet = match Packet::from_bytes(bytes) {
            Ok(Packet::SecretSubkey(key)) => key.take_secret().0.into(),
            Ok(packet) => packet,
            Err(_) => return,
        };
        let is_needed = match &packet {
            Packet::PublicSubkey(key) => key.pk_algo().for_encryption(),
            packet => matches!(packet, Packet::UserID(_)),
        };
        if is_needed {
            self.keep(packet);
        } else if let Packet::Unknown(subkey) = &packet {
            self.librepgp.extend(post_quantum::beginning(subkey));
        }
    }

    fn keep(&mut self, packet: Packet) {
        self.component = Some(self.kept.len());
        self.kept.push(packet);
    }

    /// Keeps a signature of the certificate's own that is right where it stands. sequoia would look for the place of each
    /// one that is wrong, which takes seconds if there are many.
    fn signature(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        let Some(primary) = self.primary.as_ref().filter(|_| !self.seen.contains(bytes)) else {
            return Ok(());
        };
        let Ok(Packet::Signature(signature)) = Packet::from_bytes(bytes) else { return Ok(()) };
        let (issuers, handle) = (signature.get_issuers(), KeyHandle::from(primary.fingerprint()));
        if !issuers.is_empty() && !issuers.iter().any(|issuer| issuer.aliases(&handle)) {
            return Ok(());
        }
        // Too many signatures are an error. Ignoring the rest could ignore the revocation.
        self.count(bytes, MAX_SIGNATURES, "signatures of its own", |filter| {
            (&mut filter.signatures, filter.cost)
        })?;
        if self.is_right(&signature) {
            self.kept.push(signature.into());
        } else {
            // It may stand in its right place further on.
            self.seen.remove(bytes);
        }
        Ok(())
    }

    /// Returns true if a signature is about the packet in front of it, and can be verified. A revocation counts wherever it
    /// stands: somebody may have appended it to the file, behind the last subkey.
    fn is_right(&self, signature: &Signature) -> bool {
        use SignatureType as T;
        let Some(primary) = &self.primary else { return false };
        let component = self.component.and_then(|n| self.kept.get(n));
        let verified = match (signature.typ(), component) {
            (T::KeyRevocation, _) => signature.verify_primary_key_revocation(primary, primary),
            (T::DirectKey, Some(Packet::PublicKey(_))) => signature.verify_direct_key(primary, primary),
            (T::SubkeyBinding, Some(Packet::PublicSubkey(key))) => {
                signature.verify_subkey_binding(primary, primary, key)
            }
            (T::SubkeyRevocation, Some(Packet::PublicSubkey(key))) => {
                signature.verify_subkey_revocation(primary, primary, key)
            }
            (T::CertificationRevocation, Some(Packet::UserID(user_id))) => {
                signature.verify_userid_revocation(primary, primary, user_id)
            }
            (
                T::GenericCertification
                | T::PersonaCertification
                | T::CasualCertification
                | T::PositiveCertification,
                Some(Packet::UserID(user_id)),
            ) => signature.verify_userid_binding(primary, primary, user_id),
            _ => return false,
        };
        verified.is_ok()
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
