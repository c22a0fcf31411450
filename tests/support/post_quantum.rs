//! Certificates with post-quantum keys (RFC 9980), one file of each kind in tests/post-quantum. They are kept since only
//! OpenSSL 3.5 or later can make them, and tests on older hosts need them, too. `make post-quantum-keys` makes them anew.

use std::path::PathBuf;

use sequoia_openpgp as openpgp;

use openpgp::packet::key::{Key4, Key6, SecretParts, SubordinateRole};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Key, UserID};
use openpgp::parse::Parse;
use openpgp::serialize::SerializeInto;
use openpgp::types::PublicKeyAlgorithm::{self, *};
use openpgp::types::{Curve, Features, KeyFlags, SignatureType};
use openpgp::{Cert, Packet, Result};

use super::armored;
use super::pages::project;

/// A certificate of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The name of its file. The address is this name at `t.org`.
    pub name: &'static str,
    /// The version of its keys.
    pub version: u8,
    /// The algorithm of its primary key.
    pub primary: PublicKeyAlgorithm,
    /// The algorithms of its subkeys.
    pub subkeys: &'static [PublicKeyAlgorithm],
}

const fn kind(
    name: &'static str,
    version: u8,
    primary: PublicKeyAlgorithm,
    subkeys: &'static [PublicKeyAlgorithm],
) -> Kind {
    Kind { name, version, primary, subkeys }
}

/// All kinds.
pub const KINDS: [Kind; 9] = [
    kind("v4-both", 4, EdDSA, &[ECDH, MLKEM768_X25519]),
    kind("v4-only", 4, EdDSA, &[MLKEM768_X25519]),
    kind("v6-both", 6, Ed25519, &[X25519, MLKEM768_X25519]),
    kind("v6-only", 6, Ed25519, &[MLKEM768_X25519]),
    kind("v6-both-1024", 6, Ed25519, &[X25519, MLKEM1024_X448]),
    kind("v6-only-1024", 6, Ed448, &[MLKEM1024_X448]),
    kind("v6-mldsa65", 6, MLDSA65_Ed25519, &[MLKEM768_X25519]),
    kind("v6-mldsa87", 6, MLDSA87_Ed448, &[MLKEM1024_X448]),
    kind("v6-slhdsa", 6, SLHDSA128s, &[X25519, MLKEM768_X25519]),
];

/// Returns true for algorithms of RFC 9980.
pub fn is_post_quantum(algorithm: PublicKeyAlgorithm) -> bool {
    !matches!(algorithm, EdDSA | ECDH | Ed25519 | Ed448 | X25519)
}

impl Kind {
    /// Returns the address in its User ID.
    pub fn address(&self) -> String {
        format!("{}@t.org", self.name)
    }

    /// Returns the file that it is kept in.
    pub fn file(&self) -> PathBuf {
        project("tests/post-quantum").join(format!("{}.asc", self.name))
    }

    /// Reads the certificate, with its secret keys.
    pub fn cert(&self) -> Cert {
        Cert::from_file(self.file()).unwrap()
    }

    /// Exports the public part, armored.
    pub fn public(&self) -> Vec<u8> {
        armored(&self.cert())
    }

    /// Makes a new one.
    ///
    /// # Errors
    ///
    /// Fails if the crypto library does not have its algorithms.
    pub fn make(&self) -> Result<Cert> {
        let primary = self.key(self.primary)?.role_into_primary();
        let mut signer = primary.clone().into_keypair()?;
        let user_id = UserID::from(format!("Test <{}>", self.address()));
        let certifies = KeyFlags::empty().set_certification();
        let signature = |kind, flags: &KeyFlags| {
            let signature = SignatureBuilder::new(kind).set_features(Features::sequoia())?;
            signature.set_key_flags(flags.clone())
        };
        let of_key = signature(SignatureType::DirectKey, &certifies)?
            .sign_direct_key(&mut signer, primary.parts_as_public())?;
        let of_user_id = signature(SignatureType::PositiveCertification, &certifies)?;
        let of_user_id = of_user_id.sign_userid_binding(&mut signer, primary.parts_as_public(), &user_id)?;
        let packets: [Packet; 4] = [primary.into(), of_key.into(), user_id.into(), of_user_id.into()];
        let mut cert = Cert::from_packets(packets.into_iter())?;
        let encrypts = KeyFlags::empty().set_transport_encryption().set_storage_encryption();
        for algorithm in self.subkeys {
            let subkey = self.key(*algorithm)?;
            let binding =
                subkey.bind(&mut signer, &cert, signature(SignatureType::SubkeyBinding, &encrypts)?)?;
            cert = cert.insert_packets([Packet::from(subkey), binding.into()])?.0;
        }
        Ok(cert)
    }

    fn key(&self, algorithm: PublicKeyAlgorithm) -> Result<Key<SecretParts, SubordinateRole>> {
        Ok(match (self.version, algorithm) {
            (4, EdDSA) => Key4::generate_ecc(true, Curve::Ed25519)?.into(),
            (4, ECDH) => Key4::generate_ecc(false, Curve::Cv25519)?.into(),
            (4, MLKEM768_X25519) => Key4::generate_mlkem768_x25519()?.into(),
            (6, Ed25519) => Key6::generate_ed25519()?.into(),
            (6, Ed448) => Key6::generate_ed448()?.into(),
            (6, MLDSA65_Ed25519) => Key6::generate_mldsa65_ed25519()?.into(),
            (6, MLDSA87_Ed448) => Key6::generate_mldsa87_ed448()?.into(),
            (6, SLHDSA128s) => Key6::generate_slhdsa128s()?.into(),
            (6, X25519) => Key6::generate_x25519()?.into(),
            (6, MLKEM768_X25519) => Key6::generate_mlkem768_x25519()?.into(),
            (6, MLKEM1024_X448) => Key6::generate_mlkem1024_x448()?.into(),
            (version, algorithm) => panic!("no kind has a key of version {version} with {algorithm}"),
        })
    }
}

/// The algorithm Kyber in GnuPG's own format (LibrePGP).
pub const KYBER: u8 = 8;

/// Exports the public part of a certificate, with one more subkey, in GnuPG's own format.
pub fn with_librepgp_subkey(cert: &Cert, algorithm: u8) -> Vec<u8> {
    let public = cert.clone().strip_secret_key_material();
    // Version, creation time, algorithm, and the size of the numbers, which nobody reads.
    let subkey = [&[0xce, 14, 5, 1, 2, 3, 4, algorithm, 0, 0, 0, 4][..], b"none"].concat();
    [public.to_vec().unwrap(), subkey].concat()
}
