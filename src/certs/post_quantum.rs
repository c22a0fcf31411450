//! Post-quantum algorithms (RFC 9980), and GnuPG's own format of them (LibrePGP).

use sequoia_openpgp as openpgp;

use openpgp::packet::{Packet, Tag, Unknown};
use openpgp::types::PublicKeyAlgorithm;
use openpgp::Cert;

use crate::openpgp::crypto::library;
use crate::settings::Subkeys;

/// The version of a key in GnuPG's own format.
const VERSION: u8 = 5;
/// What is kept of such a subkey: version, creation time in four bytes, algorithm.
const BEGINNING: usize = 6;
/// The algorithm Kyber in that format.
const KYBER: u8 = 8;

/// Returns true if it is a post-quantum algorithm for encryption.
pub fn encrypts(algorithm: PublicKeyAlgorithm) -> bool {
    use PublicKeyAlgorithm as A;
    matches!(algorithm, A::MLKEM768_X25519 | A::MLKEM1024_X448)
}

/// Returns true if subkeys with this algorithm are wanted.
pub fn is_wanted(subkeys: Subkeys, algorithm: PublicKeyAlgorithm) -> bool {
    subkeys == Subkeys::All || encrypts(algorithm)
}

/// Returns true if a session key for SEIPDv1 can be encrypted with the algorithm: the PKESK of version 3 that goes with it must
/// not be one of ML-KEM-1024+X448 (RFC 9980).
pub fn fits_seipd1(algorithm: PublicKeyAlgorithm) -> bool {
    algorithm != PublicKeyAlgorithm::MLKEM1024_X448
}

/// Returns true if it is a post-quantum algorithm for signatures.
pub fn signs(algorithm: PublicKeyAlgorithm) -> bool {
    use PublicKeyAlgorithm as A;
    matches!(algorithm, A::MLDSA65_Ed25519 | A::MLDSA87_Ed448 | A::SLHDSA128s | A::SLHDSA128f | A::SLHDSA256s)
}

/// Says what this server lacks.
pub fn needs() -> String {
    format!("post-quantum algorithms need OpenSSL 3.5 or later on this server, and there is {}", library())
}

/// Returns true if the body of a key packet is in GnuPG's own format.
pub fn is_librepgp(body: &[u8]) -> bool {
    body.first() == Some(&VERSION)
}

/// Returns what is kept of a subkey in GnuPG's own format, so that it can be told why it is not used; `None` if the packet is
/// something else.
pub fn beginning(subkey: &Unknown) -> Option<Vec<u8>> {
    subkey.body().get(..BEGINNING).filter(|body| is_librepgp(body)).map(<[u8]>::to_vec)
}

/// Returns what is kept of such a subkey as a packet of its certificate.
pub fn librepgp_subkey(beginning: Vec<u8>) -> Packet {
    let why = openpgp::Error::UnsupportedPacketType(Tag::PublicSubkey);
    let mut subkey = Unknown::new(Tag::PublicSubkey, why.into());
    subkey.set_body(beginning);
    subkey.into()
}

/// Says of each subkey in GnuPG's own format whether it is one of Kyber.
pub fn librepgp_subkeys(cert: &Cert) -> impl Iterator<Item = bool> + '_ {
    let bodies = cert.unknowns().map(|subkey| subkey.unknown().body());
    bodies.filter(|body| is_librepgp(body)).map(|body| body.last() == Some(&KYBER))
}
