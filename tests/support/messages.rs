//! Messages that are encrypted, and messages that only look like it.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;

fn pkesk() -> Vec<u8> {
    vec![0xc1, 3, 3, 1, 2]
}

fn seipd(length: usize) -> Vec<u8> {
    let mut packet = vec![0xd2, 0xff];
    packet.extend(u32::try_from(length).unwrap().to_be_bytes());
    packet.push(1);
    packet.resize(packet.len() + length - 1, 9);
    packet
}

fn encrypted_packets() -> Vec<u8> {
    [pkesk(), seipd(100)].concat()
}

fn armor(packets: &[u8]) -> String {
    let digits = STANDARD.encode(packets);
    let lines: Vec<&str> = digits.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).unwrap()).collect();
    format!("-----BEGIN PGP MESSAGE-----\n\n{}\n=AAAA\n-----END PGP MESSAGE-----\n", lines.join("\n"))
}

fn good() -> String {
    armor(&encrypted_packets())
}

/// A PGP/MIME message with variable places.
struct PgpMime<'a> {
    content_type: &'a str,
    preamble: &'a str,
    control: &'a str,
    data: String,
    end: &'a str,
}

impl Default for PgpMime<'_> {
    fn default() -> Self {
        Self {
            content_type: "multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b",
            preamble: "",
            control: "Content-Type: application/pgp-encrypted\n\nVersion: 1\n",
            data: format!("Content-Type: application/octet-stream\n\n{}", good()),
            end: "--b--\n",
        }
    }
}

impl PgpMime<'_> {
    fn build(&self) -> Vec<u8> {
        let Self { content_type, preamble, control, data, end } = self;
        format!("Subject: x\nContent-Type: {content_type}\n\n{preamble}--b\n{control}\n--b\n{data}\n{end}")
            .into_bytes()
    }
}

fn text(body: &str) -> Vec<u8> {
    format!("Content-Type: text/plain\n\n{body}").into_bytes()
}

fn part(headers: &str, body: &str) -> String {
    format!("--b\n{headers}\n\n{body}\n")
}

fn mixed(parts: &[String]) -> Vec<u8> {
    format!("Content-Type: multipart/mixed; boundary=b\n\n{}--b--\n", parts.concat()).into_bytes()
}

/// Encodes a value in DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    [&[tag, 0x82, (length >> 8) as u8, length as u8], content].concat()
}

/// Makes a CMS object of a content type: version 0, and recipients.
fn cms(oid: &[u8], length: usize) -> Vec<u8> {
    let enveloped = der(0x30, &[&[2, 1, 0][..], &der(0x31, &vec![5; length])].concat());
    der(0x30, &[&[6, oid.len() as u8], oid, &der(0xa0, &enveloped)].concat())
}

const ENVELOPED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3];
const AUTH_ENVELOPED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 23];
const SIGNED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const COMPRESSED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 9];

fn smime(object: &[u8], label: &str) -> Vec<u8> {
    format!(
        "Content-Type: application/pkcs7-mime; smime-type={label}\nContent-Transfer-Encoding: base64\n\n{}\n",
        STANDARD.encode(object)
    )
    .into_bytes()
}

/// Makes an encrypted message whose armor is one line.
pub fn encrypted_in_one_line(size: usize) -> Vec<u8> {
    let digits = STANDARD.encode([pkesk(), seipd(size)].concat());
    text(&format!("-----BEGIN PGP MESSAGE-----\r\n\r\n{digits}\r\n-----END PGP MESSAGE-----\r\n"))
}

/// Returns messages whose content is encrypted as a whole, each with a description.
pub fn encrypted() -> Vec<(&'static str, Vec<u8>)> {
    let long_preamble = "x".repeat(250) + "\n\n";
    let with_data = |data: String| PgpMime { data, ..PgpMime::default() }.build();
    let octets = "Content-Type: application/octet-stream\n";
    let binary = STANDARD.encode(encrypted_packets());
    let partial = [pkesk(), vec![0xd2, 0xe9], vec![1; 512], vec![0xc0, 8], vec![1; 200]].concat();
    let markers = [vec![0xca, 3, b'P', b'G', b'P', 0xd5, 2, 7, 7], encrypted_packets()].concat();
    let skesk_old = [vec![0x8c, 4, 4, 9, 3, 8], vec![0xa7, 1, 2, 3]].concat();
    let ocb = [vec![0xc3, 4, 6, 0, 0, 0], vec![0xd4, 5, 1, 9, 2, 0, 0]].concat();
    vec![
        ("PGP/MIME", PgpMime::default().build()),
        (
            "a customary preamble",
            PgpMime {
                preamble: "This is an OpenPGP/MIME encrypted message (RFC 4880 and 3156)\n",
                ..PgpMime::default()
            }
            .build(),
        ),
        ("a long preamble", PgpMime { preamble: &long_preamble, ..PgpMime::default() }.build()),
        ("a blank epilogue", PgpMime { end: "--b--\n\n \n", ..PgpMime::default() }.build()),
        (
            "parameters in any order and case",
            PgpMime {
                content_type:
                    "Multipart/ENCRYPTED; BOUNDARY=\"b\";\n\tProtocol=\"Application/PGP-encrypted\"",
                ..PgpMime::default()
            }
            .build(),
        ),
        ("binary in base64", with_data(format!("{octets}Content-Transfer-Encoding: base64\n\n{binary}\n"))),
        (
            "armor in quoted-printable",
            with_data(format!(
                "{octets}Content-Transfer-Encoding: quoted-printable\n\n{}",
                good().replace('=', "=3D")
            )),
        ),
        ("partial lengths", with_data(format!("{octets}\n{}", armor(&partial)))),
        ("markers and padding", with_data(format!("{octets}\n{}", armor(&markers)))),
        ("SKESK and SED in the old format", with_data(format!("{octets}\n{}", armor(&skesk_old)))),
        ("SKESK and OCB", with_data(format!("{octets}\n{}", armor(&ocb)))),
        ("inline", text(&good())),
        ("inline with white space", text(&format!("\n \n{}\n\n", good()))),
        ("inline behind a byte order mark", text(&format!("\u{feff}{}\u{a0}\n", good()))),
        (
            "inline with no-break spaces",
            text(&format!("\u{a0}\n \u{a0} \n\u{a0}{}", good()).replace("-----\n=", "-----\u{a0}\n=")),
        ),
        (
            "no-break spaces in quoted-printable",
            [
                b"Content-Transfer-Encoding: quoted-printable\n".to_vec(),
                text(&format!("=C2=A0\n{}=C2=A0\n", good().replace('=', "=3D"))),
            ]
            .concat(),
        ),
        (
            "no-break spaces of windows-1252",
            [b"Content-Type: text/plain; charset=windows-1252\n\n\xa0\n", good().as_bytes(), b"\xa0\n"].concat(),
        ),
        (
            "a no-break space without a charset",
            [b"Subject: x\n\n\xa0\n", good().as_bytes()].concat(),
        ),
        (
            "a file behind a byte order mark",
            with_data(format!(
                "Content-Type: application/octet-stream; name=x.asc\nContent-Transfer-Encoding: base64\n\n{}\n",
                STANDARD.encode(format!("\u{feff}{}", good()))
            )),
        ),
        (
            "fields of Gmail in a part",
            with_data(format!("{octets}Content-ID: <f_1>\nX-Attachment-Id: f_1\n\n{}", good())),
        ),
        (
            "Exchange with HTML",
            mixed(&[
                part(
                    "Content-Type: text/html; charset=\"us-ascii\"",
                    "<html><head>\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=us-ascii\">\n</head>\n\
                     <body>\n<p>&nbsp;</p><br/>\n</body>\n</html>",
                ),
                part("Content-Type: application/pgp-encrypted; name=\"v.asc\"", "Version: 1"),
                part("Content-Type: application/octet-stream", &good()),
            ]),
        ),
        (
            "Exchange with two empty texts",
            mixed(&[
                part(
                    "Content-Type: multipart/alternative; boundary=c",
                    "--c\nContent-Type: text/plain; charset=utf-8\n\n\u{a0}\n--c\nContent-Type: text/html\n\n\n--c--",
                ),
                part("Content-Type: application/pgp-encrypted; name=\"v.asc\"", "Version: 1"),
                part("Content-Type: application/octet-stream", &good()),
            ]),
        ),
        (
            "inline with armor headers",
            text(&good().replace("MESSAGE-----\n\n", "MESSAGE-----\nVersion: x\nComment: y\n\n")),
        ),
        ("inline without a checksum", text(&good().replace("=AAAA\n", ""))),
        (
            "inline, mislabelled",
            [b"Content-Transfer-Encoding: quoted-printable\n".to_vec(), text(&good())].concat(),
        ),
        ("inline without Content-Type", format!("Subject: x\n\n{}", good()).into_bytes()),
        (
            "all parts",
            mixed(&[
                part("Content-Type: text/plain", &good()),
                part("Content-Type: application/pgp", &good()),
            ]),
        ),
        (
            "Exchange",
            mixed(&[
                part("Content-Type: text/plain", ""),
                part("Content-Type: application/pgp-encrypted; name=\"v.asc\"", "Version: 1"),
                part("Content-Type: application/octet-stream", &good()),
            ]),
        ),
        ("S/MIME", smime(&cms(ENVELOPED, 300), "enveloped-data")),
        ("S/MIME with a wrong label", smime(&cms(ENVELOPED, 300), "signed-data")),
        ("S/MIME with authentication", smime(&cms(AUTH_ENVELOPED, 300), "x")),
        (
            "S/MIME of indefinite length",
            smime(&[&[0x30, 0x80, 6, 9], ENVELOPED, &[0xa0, 0x80, 0x30, 0x80, 2, 1, 0, 0x31], &[0; 40]].concat(), "x"),
        ),
        ("S/MIME with a file name", smime(&cms(ENVELOPED, 300), "enveloped-data; name=\"smime.p7m\"")),
        (
            "a binary file",
            mixed(&[
                part("Content-Type: text/plain", &good()),
                part(
                    "Content-Type: application/octet-stream; name=\"x.pdf.GPG\"\nContent-Transfer-Encoding: base64\n\
                     Content-Disposition: attachment;\n filename=\"x.pdf.gpg\"",
                    &binary,
                ),
            ]),
        ),
    ]
}

/// Returns messages that only look like it, each with a description.
pub fn not_encrypted() -> Vec<(&'static str, Vec<u8>)> {
    let preamble = "x".repeat(256) + "\n";
    let with_type = |content_type| PgpMime { content_type, ..PgpMime::default() }.build();
    let with_control = |control| PgpMime { control, ..PgpMime::default() }.build();
    let with_data = |data: String| PgpMime { data, ..PgpMime::default() }.build();
    let with_end = |end| PgpMime { end, ..PgpMime::default() }.build();
    let octets =
        |packets: &[u8]| with_data(format!("Content-Type: application/octet-stream\n\n{}", armor(packets)));
    let binary = STANDARD.encode(encrypted_packets());
    let file = |content_type: &str, disposition: &str| {
        let fields = format!("Content-Type: {content_type}\nContent-Disposition: {disposition}");
        format!("{fields}\nContent-Transfer-Encoding: base64\n\n{binary}\n").into_bytes()
    };
    let long_part_header =
        format!("Content-Type: text/plain\nContent-Description: {}", "secret ".repeat(1200));
    let part_header = format!("Content-Type: text/plain\nContent-Description: {}", "secret ".repeat(100));
    let long_boundary =
        format!("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b{}", "x".repeat(80));
    let long_control =
        format!("Content-Type: application/pgp-encrypted\n\nVersion: 1\n{}", "secret ".repeat(50));
    vec![
        ("text", text("hello\n")),
        // Programs open these files by type or name, and skip what comes before the content.
        ("a PDF", file("application/pdf", "attachment")),
        ("a PDF by its name", file("application/octet-stream; name=x.pdf", "attachment")),
        ("a PDF by the name of its file", file("application/octet-stream", "attachment; filename=\"x.asc.pdf\"")),
        ("a name in RFC 2231", file("application/octet-stream", "attachment; filename*=us-ascii'en'x.pdf")),
        ("a name and another", file("application/octet-stream", "attachment; filename=x.asc; filename=x.pdf")),
        ("a PDF in S/MIME", smime(&cms(ENVELOPED, 300), "enveloped-data; name=x.pdf")),
        ("a PDF behind a content type", smime(&der(0x30, &[&[6, 9], ENVELOPED, &[b'%'; 300]].concat()), "x")),
        ("a PDF behind a version", smime(&der(0x30, &[&[6, 9], ENVELOPED, &der(0xa0, &der(0x30, &[&[2, 1, 0][..], &[b'%'; 300]].concat()))].concat()), "x")),
        ("a part in S/MIME that is cut off", smime(&der(0x30, &[&[6, 9], ENVELOPED, &der(0xa0, &der(0x30, &[2, 1, 0, 0x31])), &[b'%'; 300]].concat()), "x")),
        (
            "a mistake in quoted-printable",
            [
                b"Content-Transfer-Encoding: quoted-printable\n".to_vec(),
                text(&good().replace("=AAAA", "=3DAAAA").replace("MESSAGE-----\n\n", "MESSAGE-----\nVersion: =n\n\n")),
            ]
            .concat(),
        ),
        ("a folded boundary", with_type("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=\"\n b\"")),
        ("a boundary that begins with a blank", with_type("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=\" b\"")),
        ("nothing", Vec::new()),
        ("a header", b"Subject: x\n".to_vec()),
        ("a blank body", text("\n\n")),
        ("a marker field", [b"Encrypted-On-Delivery: pgp-mime\n".to_vec(), text("hello")].concat()),
        ("a label", with_data("Content-Type: application/octet-stream\n\nhello\n".into())),
        ("a long preamble", PgpMime { preamble: &preamble, ..PgpMime::default() }.build()),
        ("an epilogue", with_end("--b--\nsecret\n")),
        ("a third part", with_end("--b\nContent-Type: text/plain\n\nsecret\n--b--\n")),
        ("no last boundary", with_end("")),
        ("almost a boundary", with_end("--b-\n--b--\n")),
        ("no protocol", with_type("multipart/encrypted; boundary=b")),
        ("another protocol", with_type("multipart/encrypted; protocol=x; boundary=b")),
        ("two protocols", with_type("multipart/encrypted; protocol=\"application/pgp-encrypted\"; protocol=x; boundary=b")),
        ("two boundaries", with_type("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b; boundary=c")),
        ("two types", with_type("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\nContent-Type: text/plain")),
        ("an encoded multipart", with_type("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\nContent-Transfer-Encoding: base64")),
        ("a control part with text", with_control(&long_control)),
        ("a control part of another type", with_control("Content-Type: text/plain\n\nVersion: 1\n")),
        ("a second control part", with_data("Content-Type: application/pgp-encrypted\n\nVersion: 1\n".into())),
        ("text in the header of a part", with_control("Content-Type: application/pgp-encrypted\nsecret text\n\nVersion: 1\n")),
        ("no session key", octets(&seipd(100))),
        ("compressed", octets(&[&pkesk()[..], &[0xc8, 3, 0, 1, 2]].concat())),
        ("literal", octets(&[0xcb, 8, b'b', 0, 0, 0, 0, 0, b'x', b'y'])),
        ("a one-pass signature", octets(&[&[0xc4, 3, 3, 0, 0][..], &encrypted_packets()].concat())),
        ("a signature", octets(&[&[0xc2, 3, 4, 0, 0][..], &encrypted_packets()].concat())),
        ("a packet behind it", octets(&[&encrypted_packets()[..], &[0xcb, 7, b'b', 0, 0, 0, 0, 0, b'x']].concat())),
        ("cut off", octets(&encrypted_packets()[..60])),
        ("text in a marker", octets(&[&[0xca, 3, b's', b'e', b'c'][..], &encrypted_packets()].concat())),
        ("SEIPD of version 9", octets(&[&pkesk()[..], &[0xd2, 2, 9, 0]].concat())),
        ("a session key without end", octets(&[&[0x87][..], &encrypted_packets()].concat())),
        ("a huge session key", octets(&[&[0xc1, 0xff, 0, 1, 0, 0][..], &[b's'; 65536], &seipd(10)].concat())),
        ("a cover note", text(&format!("secret\n{}", good()))),
        ("a quoted message", text(&good().replace('\n', "\n> "))),
        ("a footer", text(&format!("{}\n-- \nmailing list", good()))),
        ("two messages", text(&format!("{}{}", good(), good()))),
        ("no END line", text(&good().replace("-----END PGP MESSAGE-----\n", ""))),
        ("text in the armor", text(&good().replace("\n=AAAA", "\nsecret words!\n=AAAA"))),
        ("a long armor header", text(&good().replace("MESSAGE-----\n\n", &format!("MESSAGE-----\nComment: {}\n\n", "secret ".repeat(100))))),
        ("many armor headers", text(&good().replace("MESSAGE-----\n\n", &format!("MESSAGE-----\n{}\n", "Comment: secret text\n".repeat(200))))),
        ("a key", text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n")),
        ("HTML", format!("Content-Type: text/html\n\n{}", good()).into_bytes()),
        ("an encrypted part beside text", mixed(&[part("Content-Type: text/plain", "secret"), part("Content-Type: application/pgp", &good())])),
        ("only blank parts", mixed(&[part("Content-Type: text/plain", " ")])),
        ("no parts", mixed(&[])),
        ("a part without an empty line", mixed(&["--b\nsecret: x\n".to_owned(), part("Content-Type: text/plain", &good())])),
        ("an attached message", mixed(&[part("Content-Type: message/rfc822", &good())])),
        ("an unknown encoding", mixed(&[part("Content-Type: text/plain\nContent-Transfer-Encoding: x", &good())])),
        ("an inner multipart without end", mixed(&[part("Content-Type: multipart/mixed; boundary=c", &format!("--c\n\n{}", good()))])),
        ("a boundary that begins like another", mixed(&[part("Content-Type: multipart/mixed; boundary=bc", &format!("--bc\n\n{}\n--bc--", good()))])),
        ("binary ciphertext that is not encoded", with_data("Content-Type: application/octet-stream\n\n\u{c1}".into())),
        ("a boundary that some cut short", PgpMime { content_type: &long_boundary, ..PgpMime::default() }.build()),
        ("a boundary with an escape", with_type("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=\"\\b\"")),
        ("a boundary in pieces", with_type("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary*0=b")),
        ("a boundary and another in RFC 2231", with_type("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b; boundary*=c")),
        ("an encoded boundary", with_type("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=\"=?us-ascii?q?b?=\"")),
        ("a comment", with_type("multipart/encrypted (x); protocol=\"application/pgp-encrypted\"; boundary=b")),
        ("a missing semicolon", with_type("multipart/encrypted protocol=\"application/pgp-encrypted\"; boundary=b")),
        ("a bare CR in the header", with_type("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\nX: y\rContent-Type: text/html")),
        ("a bare CR in the body", text(&good().replace("=AAAA", "=AA\rA"))),
        ("a NUL", text(&good().replace("=AAAA", "=AA\0A"))),
        ("a folded line first", [b" x\n".to_vec(), PgpMime::default().build()].concat()),
        ("text between the digits", mixed(&[part("Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64", &format!("{}\n\u{43f}\u{440}\n{}", &binary[..40], &binary[40..]))])),
        ("UTF-7", [b"Content-Type: text/plain; charset=utf-7\n\n".to_vec(), good().into_bytes()].concat()),
        ("text in armor headers", text(&good().replace("MESSAGE-----\n\n", "MESSAGE-----\nDear Bob: x\n\n"))),
        ("words between the digits", text("-----BEGIN PGP MESSAGE-----\n\nwQEDpwAA\nDear Bob\nthe password is nightingale\n-----END PGP MESSAGE-----\n")),
        ("a word in each line", text("-----BEGIN PGP MESSAGE-----\n\nwQEDpwAA\nDear\nBob\nthe\npassword\n-----END PGP MESSAGE-----\n")),
        ("a form feed in base64", mixed(&[part("Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64", &format!("{}\u{c}", binary.trim_end()))])),
        ("a form feed behind the name of an encoding", mixed(&[part("Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\u{c}", &binary)])),
        ("a form feed behind a boundary", mixed(&[part("Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64", &format!("{binary}\n--b\u{c}"))])),
        ("words in base64", mixed(&[part("Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64", "wQEDpwAA\nDear Bob\nthe password\n")])),
        ("padding, and data behind it", text(&good().replace("=AAAA", "=\nAAAA"))),
        ("many session keys", octets(&[&[0xc1, 0xc0, 63, 3][..], &[b's'; 254], &pkesk().repeat(200), &seipd(9)].concat())),
        ("large headers of parts", mixed(&vec![part(&part_header, &good()); 20])),
        ("two checksums", text(&good().replace("=AAAA\n", "=AAAA\n=text\n"))),
        ("a long header of a part", mixed(&[part(&long_part_header, &good())])),
        ("a field of another kind in a part", mixed(&[part("Content-Type: text/plain\nSubject: secret", &good())])),
        ("long fields of programs in a part", mixed(&[part(&format!("Content-Type: text/plain\nX-Text: {}", "secret ".repeat(1200)), &good())])),
        ("HTML beside an encrypted part", mixed(&[part("Content-Type: text/html", "<p>secret</p>"), part("Content-Type: text/plain", &good())])),
        ("a text in a tag", mixed(&[part("Content-Type: text/html", "<p title=\"secret\"></p>"), part("Content-Type: text/plain", &good())])),
        ("a picture", mixed(&[part("Content-Type: text/html", "<img src=\"http://example.org/secret\">"), part("Content-Type: text/plain", &good())])),
        ("a comment in HTML", mixed(&[part("Content-Type: text/html", "<!-- secret -->"), part("Content-Type: text/plain", &good())])),
        ("a text in the type of HTML", mixed(&[part("Content-Type: text/html", "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=the-secret-is-out-now\">"), part("Content-Type: text/plain", &good())])),
        ("a tag of many slashes", mixed(&[part("Content-Type: text/html", "<////p>"), part("Content-Type: text/plain", &good())])),
        ("a tag without end", mixed(&[part("Content-Type: text/html", "<p"), part("Content-Type: text/plain", &good())])),
        ("empty HTML in UTF-7", mixed(&[part("Content-Type: text/html; charset=utf-7", "<p></p>"), part("Content-Type: text/plain", &good())])),
        ("much empty HTML", mixed(&[part("Content-Type: text/html", &"<p></p>\n".repeat(300)), part("Content-Type: text/plain", &good())])),
        ("nothing but empty HTML", mixed(&[part("Content-Type: text/html", "<p></p>")])),
        ("an empty HTML for the second part", with_data("Content-Type: text/html\n\n<p></p>".into())),
        ("words between no-break spaces", text(&format!("\u{a0}secret\u{a0}\n{}", good()))),
        ("a letter that ends like one", text(&format!("\u{e0}\n{}", good()))),
        ("endless no-break spaces", text(&format!("{}\n{}", "\u{a0}".repeat(2000), good()).repeat(2))),
        ("no-break spaces in the armor", text(&good().replace("\n=AAAA", "\n\u{a0}\n=AAAA"))),
        ("endless white space", text(&format!("{}{}", "\n".repeat(100_000), good()))),
        ("endless parts", mixed(&vec![part("Content-Type: text/plain", &good()); 300])),
        ("signed", PgpMime { content_type: "multipart/signed; boundary=b", ..PgpMime::default() }.build()),
        ("S/MIME signed", smime(&cms(SIGNED, 300), "enveloped-data")),
        ("S/MIME compressed", smime(&cms(COMPRESSED, 300), "enveloped-data")),
        ("S/MIME with something behind it", smime(&[&cms(ENVELOPED, 300)[..], b"secret"].concat(), "enveloped-data")),
        ("S/MIME cut off", smime(&cms(ENVELOPED, 300)[..200], "enveloped-data")),
    ]
}
