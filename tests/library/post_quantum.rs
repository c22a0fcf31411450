//! Certificates with post-quantum keys, for builds whose crypto library has such algorithms, and for those whose has not. Which
//! of the two this is, the library says while the tests run: all of them assert something on both.

use std::fs;
use std::time::SystemTime;

use perot_encrypt::certs::choose::choose;
use perot_encrypt::certs::rules::Sha1;
use perot_encrypt::encrypt::Outcome;
use perot_encrypt::openpgp::crypto::{has_post_quantum, library};
use perot_encrypt::settings::{Settings, Subkeys};
use perot_testing::post_quantum::{is_post_quantum, with_librepgp_subkey, Kind, KINDS, KYBER};
use perot_testing::{armored, ciphertext, decrypt, encrypt_to, key_for, settings, version6};

use sequoia_openpgp as openpgp;

use openpgp::packet::{Packet, SEIP};
use openpgp::parse::Parse;
use openpgp::types::PublicKeyAlgorithm::{self, *};
use openpgp::{Cert, PacketPile};

const MESSAGE: &[u8] = b"Subject: x\r\nContent-Type: text/plain\r\n\r\nThe nightingale sings.\r\n";
const ME: &str = "me@t.org";

/// A folder with a certificate of each kind, and with some that have no post-quantum subkey.
struct Certs {
    folder: tempfile::TempDir,
    classical: [Cert; 2],
}

/// A message: the version of its container, and the algorithms of the keys that it is encrypted to.
type Sealed = (u8, Vec<PublicKeyAlgorithm>);

impl Certs {
    fn new() -> Self {
        let certs = Self {
            folder: tempfile::tempdir().unwrap(),
            classical: [key_for("v4@t.org"), version6("v6@t.org")],
        };
        let public = KINDS.iter().map(|kind| (kind.address(), kind.public()));
        let classical = certs.classical.iter().zip(["v4@t.org", "v6@t.org"]);
        for (address, cert) in public.chain(classical.map(|(cert, name)| (name.into(), armored(cert)))) {
            certs.give(&address, &cert);
        }
        certs
    }

    fn give(&self, address: &str, cert: &[u8]) {
        fs::write(self.folder.path().join(address).with_extension("org.asc"), cert).unwrap();
    }

    /// Encrypts to all `recipients`. Checks that each of `readers` reads it.
    fn seal(&self, subkeys: Subkeys, recipients: &[&str], readers: &[&Cert]) -> Result<Sealed, String> {
        let settings = Settings { subkeys, ..settings(&[self.folder.path()]) };
        let recipients: Vec<&[u8]> = recipients.iter().map(|name| name.as_bytes()).collect();
        let place = format!("{}: ", self.folder.path().display());
        let sealed = encrypt_to(&settings, &recipients, MESSAGE);
        let (outcome, message) = sealed.map_err(|why| why.to_string().replace(&place, ""))?;
        assert!(matches!(outcome, Outcome::Encrypted { .. }));
        for reader in readers {
            assert_eq!(decrypt(&message, reader), MESSAGE);
        }
        let packets = PacketPile::from_bytes(ciphertext(&message)).unwrap();
        let mut algorithms = Vec::new();
        for packet in packets.children() {
            match packet {
                Packet::PKESK(session_key) => algorithms.push(session_key.pk_algo()),
                Packet::SEIP(SEIP::V1(_)) => return Ok((1, algorithms)),
                Packet::SEIP(SEIP::V2(_)) => return Ok((2, algorithms)),
                other => panic!("{other:?}"),
            }
        }
        panic!("no container");
    }
}

fn needs() -> String {
    format!("post-quantum algorithms need OpenSSL 3.5 or later on this server, and there is {}", library())
}

/// What a build without such algorithms says of a certificate.
fn refusal(kind: &Kind, remedy: &str) -> String {
    let cert = kind.cert();
    let fingerprint = cert.fingerprint();
    if is_post_quantum(kind.primary) {
        return format!(
            "certificate {fingerprint:X} has a primary key of the algorithm {}, which this build cannot check: {}. A \
             certificate with a primary key of Curve25519 or RSA would do, too",
            kind.primary,
            needs()
        );
    }
    let (id, algorithm) = subkey(&cert);
    format!(
        "certificate {fingerprint:X} cannot be encrypted to: subkey {id} is of the algorithm {algorithm}, to which this build \
         cannot encrypt: {}. {remedy}",
        needs()
    )
}

/// Returns the ID of the post-quantum subkey, and its algorithm.
fn subkey(cert: &Cert) -> (String, PublicKeyAlgorithm) {
    let mut subkeys = cert.keys().subkeys().map(|subkey| subkey.key().clone());
    let subkey = subkeys.find(|key| is_post_quantum(key.pk_algo())).unwrap();
    (subkey.keyid().to_hex(), subkey.pk_algo())
}

#[test]
fn all_subkeys() {
    let certs = Certs::new();
    let beside = "An encryption subkey of Curve25519 or RSA beside it would do, too";
    for kind in KINDS {
        let reads = [&kind.cert()];
        let classical: Vec<_> = kind.subkeys.iter().copied().filter(|&a| !is_post_quantum(a)).collect();
        let container = if kind.version == 4 { 1 } else { 2 };
        let expected = if has_post_quantum() {
            Ok((container, kind.subkeys.to_vec()))
        } else if is_post_quantum(kind.primary) || classical.is_empty() {
            Err(refusal(&kind, beside))
        } else {
            Ok((container, classical))
        };
        assert_eq!(certs.seal(Subkeys::All, &[&kind.address()], &reads), expected, "{kind:?}");
    }
}

#[test]
fn none_but_post_quantum_ones() {
    let certs = Certs::new();
    let remedy = "With subkeys = all, an encryption subkey of Curve25519 or RSA would do";
    for kind in KINDS {
        let post_quantum = kind.subkeys.iter().copied().filter(|&a| is_post_quantum(a)).collect();
        let container = if kind.version == 4 { 1 } else { 2 };
        let expected = match has_post_quantum() {
            true => Ok((container, post_quantum)),
            false => Err(refusal(&kind, remedy)),
        };
        let sealed = certs.seal(Subkeys::PostQuantum, &[&kind.address()], &[&kind.cert()]);
        assert_eq!(sealed, expected, "{kind:?}");
    }
    // Certificates without any are used as they are.
    for (cert, address, expected) in [
        (&certs.classical[0], "v4@t.org", (1, vec![ECDH])),
        (&certs.classical[1], "v6@t.org", (2, vec![X25519])),
    ] {
        assert_eq!(certs.seal(Subkeys::PostQuantum, &[address], &[cert]), Ok(expected), "{address}");
    }
}

/// ML-KEM-1024+X448 must not be in the session key packets of the old format.
#[test]
fn several_recipients() {
    let certs = Certs::new();
    let kind = |name: &str| KINDS.into_iter().find(|kind| kind.name == name).unwrap();
    let new_only = |name: &str| {
        format!(
            "certificate {:X} (version 6) reads only the new message format, which the other recipients do not read: encrypt \
             to it alone, or to version 6 certificates only",
            kind(name).cert().fingerprint()
        )
    };
    let (all, only) = (Subkeys::All, Subkeys::PostQuantum);
    let with = [
        (all, ["v6-both", "v4"], Ok((1, vec![X25519, MLKEM768_X25519, ECDH]))),
        (all, ["v6-only", "v4-both"], Ok((1, vec![MLKEM768_X25519, ECDH, MLKEM768_X25519]))),
        (all, ["v6-both-1024", "v4"], Ok((1, vec![X25519, ECDH]))),
        (all, ["v6-both-1024", "v6"], Ok((2, vec![X25519, MLKEM1024_X448, X25519]))),
        (all, ["v6-only-1024", "v4"], Err(new_only("v6-only-1024"))),
        (all, ["v6-only-1024", "v6-mldsa65"], Ok((2, vec![MLKEM1024_X448, MLKEM768_X25519]))),
        (all, ["v6-mldsa87", "v4-only"], Err(new_only("v6-mldsa87"))),
        (only, ["v6-both", "v4-both"], Ok((1, vec![MLKEM768_X25519, MLKEM768_X25519]))),
        (only, ["v6-both", "v4"], Ok((1, vec![MLKEM768_X25519, ECDH]))),
        (only, ["v6-both-1024", "v4"], Err(new_only("v6-both-1024"))),
        (only, ["v6-both-1024", "v6"], Ok((2, vec![MLKEM1024_X448, X25519]))),
    ];
    let beside = "An encryption subkey of Curve25519 or RSA beside it would do, too";
    let without = [
        (all, ["v6-both", "v4"], Ok((1, vec![X25519, ECDH]))),
        (all, ["v6-both-1024", "v4-both"], Ok((1, vec![X25519, ECDH]))),
        (all, ["v6-both-1024", "v6"], Ok((2, vec![X25519, X25519]))),
        (all, ["v6-only-1024", "v4"], Err(refusal(&kind("v6-only-1024"), beside))),
        (all, ["v4", "v6-mldsa87"], Err(refusal(&kind("v6-mldsa87"), beside))),
    ];
    let rows = if has_post_quantum() { &with[..] } else { &without };
    for (subkeys, names, expected) in rows {
        let key = |name: &str| match name {
            "v4" => certs.classical[0].clone(),
            "v6" => certs.classical[1].clone(),
            name => kind(name).cert(),
        };
        let keys = names.map(key);
        let addresses = names.map(|name| format!("{name}@t.org"));
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let sealed = certs.seal(*subkeys, &addresses, &keys.iter().collect::<Vec<_>>());
        assert_eq!(sealed, *expected, "{subkeys:?}, {names:?}");
    }
}

/// A certificate of which only a part is used is a finding for its owner; one that is used as asked is none.
#[test]
fn what_is_left_out_is_told() {
    for kind in KINDS.iter().filter(|kind| kind.name.contains("both")) {
        let cert = Cert::from_bytes(&kind.public()).unwrap();
        let chosen = choose(&cert, SystemTime::now(), Sha1::Accepted, Subkeys::All).unwrap();
        let (id, algorithm) = subkey(&cert);
        let expected = format!(
            "has a post-quantum subkey that is not used: subkey {id} is of the algorithm {algorithm}, to which this build \
             cannot encrypt: {}",
            needs()
        );
        assert_eq!(chosen.left_out, (!has_post_quantum()).then_some(expected), "{}", kind.name);
    }
    let chosen = choose(&key_for(ME), SystemTime::now(), Sha1::Accepted, Subkeys::All).unwrap();
    assert_eq!(chosen.left_out, None);
}

/// GnuPG 2.5 makes subkeys of version 5 with Kyber, which are not those of RFC 9980.
#[test]
fn subkeys_in_gnupgs_own_format() {
    const X448: u8 = 18;
    let certs = Certs::new();
    let both = key_for(ME);
    let only = perot_testing::signing_only(ME);
    let of_kyber =
        "a subkey is in GnuPG's own format of Kyber (LibrePGP, version 5), which this build does not write";
    let of_another =
        "a subkey is in GnuPG's own format (LibrePGP, version 5), which this build does not write";
    let add = "Add an encryption subkey of Curve25519 or RSA, and export the certificate anew";
    let refused = |cert: &Cert, why: &str, remedy: &str| {
        Err(format!("certificate {:X} cannot be encrypted to: {why}. {remedy}", cert.fingerprint()))
    };
    let remedy = "With subkeys = all, an encryption subkey of Curve25519 or RSA would do";
    for (cert, algorithm, subkeys, expected) in [
        (&both, KYBER, Subkeys::All, Ok((1, vec![ECDH]))),
        (&both, KYBER, Subkeys::PostQuantum, refused(&both, of_kyber, remedy)),
        (&both, X448, Subkeys::PostQuantum, Ok((1, vec![ECDH]))),
        (&only, KYBER, Subkeys::All, refused(&only, of_kyber, add)),
        (&only, X448, Subkeys::All, refused(&only, of_another, add)),
    ] {
        certs.give(ME, &with_librepgp_subkey(cert, algorithm));
        let sealed = certs.seal(subkeys, &[ME], &[cert]);
        assert_eq!(sealed, expected, "{algorithm}, {subkeys:?}");
        // What is in place of a file is seen some seconds later.
        fs::remove_file(certs.folder.path().join(ME).with_extension("org.asc")).unwrap();
    }
}
