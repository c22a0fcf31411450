//! Checks the properties that hold for every input (tests/support/oracle.rs) with random inputs, made of
//! pieces of mail and of certificates. `PROPTEST_CASES=10000 cargo test --release properties::` tries more of
//! them.

use std::io::Write;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, Index};
use sequoia_openpgp::armor;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::Cert;

use perot_encrypt::certs::choose::choose;
use perot_encrypt::certs::rules::Sha1;
use perot_encrypt::envelope::{Envelope, Seal};
use perot_encrypt::openpgp::armor::ArmorWriter;
use perot_encrypt::openpgp::pgp_mime::PgpMime;
use perot_encrypt::settings::Subkeys;
use perot_testing::oracle::{self, Options};
use perot_testing::smime::Identity;
use perot_testing::{armored, armored_secret, decrypt, expired, key_for, messages, revoked, version6};

// Pieces of mail --------------------------------------------------------------------------------------

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just("\r\n"), 8 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\r\n"), 1 => Just("\n\n")]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[ -~]{0,60}".prop_map(String::into_bytes),
        2 => "\\PC{0,20}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..40),
        // A line that is longer than the buffer comes in pieces.
        1 => (65_000..66_000_usize).prop_map(|n| vec![b'x'; n]),
    ]
}

fn field_name() -> impl Strategy<Value = String> {
    let known = select(vec![
        "Subject",
        "SUBJECT ",
        "X-ASG-Orig-Subj",
        "In-Reply-To",
        "References ",
        "Thread-Topic",
        "From",
        "Content-Type",
        "content-type",
        "Content-Transfer-Encoding",
        "MIME-Version",
        "Content-Length",
        "Lines",
        "DKIM-Signature",
        "ARC-Seal",
        "Encrypted-On-Delivery",
        "Received",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 2 => "[!-9;-~]{1,20}", 1 => "[ -~]{0,10}"]
}

fn field_value() -> impl Strategy<Value = Vec<u8>> {
    let known = select(vec![
        "text/plain",
        "text/html; charset=utf-8",
        "multipart/mixed; boundary=b",
        "multipart/signed; boundary=\"b\"",
        "multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b",
        "application/octet-stream",
        "application/pgp-encrypted",
        "base64",
        "quoted-printable",
        "8bit",
        "<a@b> <c@d>",
        "about <a@b> that",
    ]);
    prop_oneof![known.prop_map(|v| v.as_bytes().to_vec()), bytes()]
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    let folded = vec((bytes(), line_end()), 0..3);
    (field_name(), field_value(), line_end(), folded).prop_map(|(name, value, end, folded)| {
        let mut field = [name.as_bytes(), b": ", &value, end.as_bytes()].concat();
        for (more, end) in folded {
            field.extend([b"\t", more.as_slice(), end.as_bytes()].concat());
        }
        field
    })
}

/// Makes a header of fields and of lines that are not fields.
fn header() -> impl Strategy<Value = Vec<u8>> {
    let line = (bytes(), line_end()).prop_map(|(line, end)| [&line, end.as_bytes()].concat());
    let mbox =
        prop_oneof![4 => Just(""), 1 => Just("From x@y Mon Jan  1 00:00:00 2024\n"), 1 => Just("From : x\n")];
    let fields = vec(prop_oneof![8 => field(), 1 => line], 0..8);
    (mbox, fields).prop_map(|(mbox, fields)| [mbox.as_bytes(), &fields.concat()].concat())
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let marks =
        select(vec!["--b", "--b--", "-----BEGIN PGP MESSAGE-----", "-----END PGP MESSAGE-----", "=AAAA"]);
    let lines = (prop_oneof![4 => bytes(), 1 => marks.prop_map(|m| m.as_bytes().to_vec())], line_end());
    vec(lines.prop_map(|(line, end)| [&line, end.as_bytes()].concat()), 0..12)
        .prop_map(|lines| lines.concat())
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let made = (header(), line_end(), body()).prop_map(|(h, end, b)| [&h, end.as_bytes(), &b].concat());
    let known: Vec<_> =
        messages::encrypted().into_iter().chain(messages::not_encrypted()).map(|(_, m)| m).collect();
    prop_oneof![2 => made, 1 => header(), 2 => (select(known), changes()).prop_map(changed)]
}

// Changes ---------------------------------------------------------------------------------------------

/// Replaces a part of the input, or inserts something.
type Change = (Index, Index, Vec<u8>, bool);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let new = prop_oneof![vec(any::<u8>(), 0..4), bytes(), field()];
    vec((any::<Index>(), any::<Index>(), new, any::<bool>()), 0..4)
}

fn changed((mut data, changes): (Vec<u8>, Vec<Change>)) -> Vec<u8> {
    for (at, to, new, twice) in changes {
        let (a, b) = (at.index(data.len() + 1), to.index(data.len() + 1));
        // Most changes are small.
        let range = a.min(b)..a.max(b).min(a.min(b) + new.len());
        let kept = if twice { data[a.min(b)..a.max(b)].to_vec() } else { Vec::new() };
        data.splice(range, new.into_iter().chain(kept));
    }
    data
}

// Certificates ----------------------------------------------------------------------------------------

static KEYS: LazyLock<[Cert; 2]> = LazyLock::new(|| [key_for("me@t.org"), version6("me@t.org")]);

fn certificates() -> impl Strategy<Value = Vec<u8>> {
    let certs = KEYS.iter().cloned().chain([revoked("me@t.org"), expired("me@t.org")]);
    let forms = |cert: Cert| {
        let binary = cert.clone().strip_secret_key_material().to_vec().unwrap();
        [armored(&cert), binary, armored_secret(&cert)]
    };
    let forms: Vec<Vec<u8>> = certs.flat_map(forms).collect();
    (vec(select(forms), 1..3), changes()).prop_map(|(certs, changes)| changed((certs.concat(), changes)))
}

fn x509_certificates() -> impl Strategy<Value = Vec<u8>> {
    let certs = ["rsa:2048", "P-256"].map(|kind| Identity::new(kind, "me@t.org").der());
    (select(certs.to_vec()), changes()).prop_map(changed)
}

proptest! {
    // An input that fails is printed, and becomes a test of its own. No file of such inputs is kept.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn header_split_and_assembly(message in message(), cut: u8) {
        oracle::header(&message, cut);
    }

    #[test]
    fn what_is_encrypted_already(message in message(), cut: u8) {
        oracle::inspection(&message, cut);
    }

    #[test]
    fn the_whole(message in message(), options: [u8; 2]) {
        let options = Options::from_bytes(options);
        let run = options.run(&message, |work| work());
        options.check(&message, &run);
    }

    #[test]
    fn changed_certificates(data in certificates()) {
        oracle::certificates(&data);
    }

    #[test]
    fn changed_x509_certificates(data in x509_certificates()) {
        oracle::x509(&data);
    }

    #[test]
    fn settings_and_recipients(values in vec(prop_oneof![
        select(vec!["-", "keep", "tempfail", "yes", "no", "~/a /b", "me+x@t.org", "0xDEADBEEF"]).prop_map(|v| v.as_bytes().to_vec()),
        bytes(),
    ], 0..8)) {
        oracle::configuration(&values.join(&0));
    }

    #[test]
    fn armor_as_sequoia_reads_it(pieces in vec(vec(any::<u8>(), 0..30_000), 0..4)) {
        let mut text = Vec::new();
        let mut writer = ArmorWriter::new(&mut text);
        pieces.iter().for_each(|piece| writer.write_all(piece).unwrap());
        writer.finish().unwrap();
        let mut reader = armor::Reader::from_bytes(&text, armor::ReaderMode::Tolerant(Some(armor::Kind::Message)));
        let mut read = Vec::new();
        std::io::copy(&mut reader, &mut read).unwrap();
        prop_assert!(read == pieces.concat());
    }

    /// Packets are written in pieces of 64 KiB, which are hashed and encrypted in smaller ones.
    #[test]
    fn containers_of_any_size(pieces in vec(prop_oneof![0..200_usize, 8000..9000_usize, 65_400..65_600_usize], 0..4), key in select(vec![0, 1]), compress: bool) {
        let key = &KEYS[key];
        let recipient = choose(key, std::time::SystemTime::now(), Sha1::Accepted, Subkeys::All).unwrap();
        let envelope = PgpMime::new(vec![recipient], compress).unwrap();
        let mut payload = envelope.open(Vec::new()).unwrap();
        pieces.iter().for_each(|&size| payload.write_all(&vec![b'x'; size]).unwrap());
        let out = payload.finish().unwrap();
        prop_assert!(decrypt(&out, key) == vec![b'x'; pieces.iter().sum()]);
    }
}
