//! Checks that a message is all ciphertext, as a mail program would see it: a lenient parser takes the
//! message apart. Where the product says "encrypted", no part may have anything readable.

use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use base64::engine::DecodePaddingMode;
use base64::Engine;
use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};
use perot_encrypt::openpgp::packet::{new_format_length, tag, BodyLength, Header};

use super::find;

/// Names a part that can be read.
type Readable = String;

/// Creates a parser of the fields that matter only: an invalid date can make this one read on beyond the
/// header.
fn parser() -> MessageParser {
    MessageParser::new().with_mime_headers()
}

/// Fails if anything in `message` is not ciphertext, and names it.
pub fn is_all_ciphertext(message: &[u8]) -> Result<(), Readable> {
    let parsed = parser().parse(message).ok_or("no message")?;
    let mut ciphertexts = 0;
    for part in &parsed.parts {
        ciphertexts += usize::from(is_ciphertext(&parsed, part)?);
    }
    if ciphertexts == 0 {
        return Err("nothing is encrypted".into());
    }
    Ok(())
}

/// Removes from `message` all boundaries in the middle of a line, which this parser would take for
/// boundaries. Returns `None` if a boundary consists of dashes: the lines around armor look like it, and this
/// parser cannot tell them apart.
pub fn boundaries_at_line_starts(message: &[u8]) -> Option<Vec<u8>> {
    let parsed = parser().parse(message);
    let parts = parsed.iter().flat_map(|m| &m.parts);
    let mut repaired = message.to_vec();
    for boundary in parts.filter_map(|part| part.content_type()?.attribute("boundary")) {
        let delimiter = format!("--{boundary}");
        if delimiter.bytes().all(|b| b == b'-') {
            return None;
        }
        for at in
            memchr::memmem::find_iter(message, &delimiter).filter(|&at| at > 0 && message[at - 1] != b'\n')
        {
            repaired[at..at + 2].fill(b'_');
        }
    }
    Some(repaired)
}

/// Returns true if a part is ciphertext, and false if it is empty.
fn is_ciphertext(message: &Message<'_>, part: &MessagePart<'_>) -> Result<bool, Readable> {
    let decoded: &[u8] = match &part.body {
        PartType::Multipart(_) => return Ok(false),
        PartType::Text(text) => text.as_bytes(),
        PartType::Binary(data) | PartType::InlineBinary(data) => data,
        PartType::Html(text) if shows_nothing(text) => return Ok(false),
        PartType::Html(text) => return Err(format!("HTML: {text}")),
        PartType::Message(_) => return Err("a message".into()),
    };
    let as_it_stands = &message.raw_message[part.raw_body_offset() as usize..part.raw_end_offset() as usize];
    let is_control = part
        .content_type()
        .is_some_and(|t| t.subtype().is_some_and(|s| s.eq_ignore_ascii_case("pgp-encrypted")));
    let silent = |text: &[u8]| without_space(text).is_empty() || is_control && text.len() <= 256;
    if silent(decoded) || silent(as_it_stands) {
        return Ok(false);
    }
    // In a text without a charset, a no-break space of one byte comes out of this parser as U+FFFD.
    let seen = if matches!(part.body, PartType::Text(_)) { as_it_stands } else { decoded };
    let is_armor = [decoded, seen].iter().any(|text| without_space(text).starts_with(b"-"));
    if !is_armor && opens_as_something_else(part) {
        return Err("binary data that a program opens as something else".into());
    }
    let encrypted = is_encrypted_data(decoded) || is_encrypted_data(as_it_stands);
    encrypted.then_some(true).ok_or_else(|| String::from_utf8_lossy(decoded).into_owned())
}

/// Judges by type or name: programs for ZIP archives or PDF skip what comes before the content.
fn opens_as_something_else(part: &MessagePart<'_>) -> bool {
    let subtype = part.content_type().and_then(|t| t.subtype()).unwrap_or_default().to_ascii_lowercase();
    let is_of_ciphertext =
        matches!(subtype.as_str(), "octet-stream" | "pgp" | "pgp-encrypted" | "pkcs7-mime" | "x-pkcs7-mime");
    let name = part.attachment_name().unwrap_or("x.asc").to_ascii_lowercase();
    !is_of_ciphertext || ![".asc", ".pgp", ".gpg", ".p7m"].iter().any(|ending| name.ends_with(ending))
}

/// Removes white space at both ends, with byte order marks and no-break spaces, in UTF-8 or as a single byte.
fn without_space(data: &[u8]) -> &[u8] {
    let mut data = data.trim_ascii();
    for space in ["\u{feff}".as_bytes(), "\u{a0}".as_bytes(), b"\xa0"].iter().cycle().take(3 * data.len()) {
        data = data.strip_prefix(*space).unwrap_or(data);
        data = data.strip_suffix(*space).unwrap_or(data).trim_ascii();
    }
    data
}

/// Returns true for HTML of less than 2 KiB that has nothing but tags without attributes, apart from a `meta`.
fn shows_nothing(html: &str) -> bool {
    let pieces = html
        .split('<')
        .flat_map(|piece| piece.split_once('>').map_or([piece, ""], |(tag, text)| [tag, text]));
    let is_silent = |piece: &str| {
        let piece = piece.replace("&nbsp;", " ").to_lowercase();
        let is_tag = piece.trim_matches('/').chars().all(char::is_alphanumeric) && piece.len() < 8;
        is_tag
            || piece.starts_with("meta ") && piece.contains("charset=") && piece.len() < 100
            || without_space(piece.as_bytes()).is_empty()
    };
    html.len() <= 2 << 10 && pieces.into_iter().all(is_silent)
}

fn is_encrypted_data(data: &[u8]) -> bool {
    match data.trim_ascii_start() {
        [0x80..=0xff, ..] if is_encrypted_message(data.trim_ascii_start()) => true,
        // These two content types are encrypted. Others under an S/MIME label can be read.
        [0x30, ..] => [
            b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03".as_slice(),
            b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17",
        ]
        .iter()
        .any(|oid| find(&data[..data.len().min(32)], oid).is_some()),
        text => is_encrypted_armor(without_space(text)),
    }
}

fn is_encrypted_armor(text: &[u8]) -> bool {
    let Some(text) = text.strip_prefix(b"-----BEGIN PGP MESSAGE-----") else { return false };
    let Some(text) = text.strip_suffix(b"-----END PGP MESSAGE-----") else { return false };
    let mut lines = text.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).skip(1);
    let headers: usize = lines.by_ref().take_while(|line| !line.is_empty()).map(<[u8]>::len).sum();
    let mut digits: Vec<u8> = lines.take_while(|line| !line.starts_with(b"=")).flatten().copied().collect();
    // Padding carries no data.
    while digits.last() == Some(&b'=') {
        digits.pop();
    }
    // A single digit has six bits, too few for a byte. Some programs leave one over.
    digits.truncate(digits.len() - usize::from(digits.len() % 4 == 1));
    let padding = PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&STANDARD, padding.with_decode_allow_trailing_bits(true));
    headers <= 256 && engine.decode(digits).is_ok_and(|packets| is_encrypted_message(&packets))
}

/// Checks RFC 9580, section 10.3: session keys, then one container, and nothing after it. Their contents do
/// not matter, since nobody can read them.
fn is_encrypted_message(mut data: &[u8]) -> bool {
    let mut session_keys = 0;
    while let Ok(Some(header)) = Header::parse(data) {
        let body = data.get(header.size..).unwrap_or_default();
        match (header.tag, header.length) {
            (tag::PKESK | tag::SKESK, _) => session_keys += 1,
            (tag::MARKER | tag::PADDING, _) => {}
            (tag::SEIPD | tag::OCB_ENCRYPTED | tag::SED, length) => {
                return session_keys > 0 && behind(body, length).is_some_and(<[u8]>::is_empty);
            }
            _ => return false,
        }
        let Some(rest) = behind(body, header.length) else { return false };
        data = rest;
    }
    false
}

/// Returns the data after the body of the packet at the beginning of `data`.
fn behind(mut data: &[u8], mut length: BodyLength) -> Option<&[u8]> {
    while let BodyLength::Partial(n) = length {
        let rest = data.get(usize::try_from(n).ok()?..)?;
        let (next, size) = new_format_length(rest)?;
        (data, length) = (rest.get(size..)?, next);
    }
    match length {
        BodyLength::Full(n) => data.get(usize::try_from(n).ok()?..),
        _ => Some(&[]),
    }
}
