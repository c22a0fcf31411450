//! Tells the content of one leaf part.

use super::armored::Armored;
use super::cms::Cms;
use super::content_type::ContentType;
use super::html;
use super::packets::Packets;
use super::plain::{begins_wide_space, is_space, Plain};
use super::transfer::Transfer;

/// The content of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing but white space, or HTML that shows nothing.
    Blank,
    /// The control part of RFC 3156, section 4: `Version: 1`.
    Control,
    /// Ciphertext from the first byte to the last.
    Encrypted,
}

/// Largest control part, in bytes. It is readable, and needs ten bytes for `Version: 1`.
const MAX_CONTROL: usize = 256;

/// Reads the body of a leaf in pieces.
pub struct Leaf {
    transfer: Transfer,
    kind: Kind,
    /// The armored text as it was before decoding. Some programs label armor as quoted-printable without
    /// encoding it; decoding then takes its padding (`=`) for an escape.
    undecoded: Option<Armored>,
    decoded: Vec<u8>,
}

enum Kind {
    /// `text/plain`, which must be an armored message.
    Text(Armored),
    /// `text/html`, which must be empty.
    Html(Vec<u8>),
    /// `application/pkcs7-mime`.
    Cms(Cms),
    /// A part for ciphertext, of which only white space has been read. `control` allows it to be a control
    /// part, `binary` to be binary.
    Application {
        control: bool,
        binary: bool,
    },
    Control(Vec<u8>),
    Binary(Packets),
    Armored(Armored),
    /// The decoded bytes are not ciphertext. The `undecoded` ones may still be.
    Failed,
}

impl Leaf {
    /// Begins a leaf. `transfer` is its Content-Transfer-Encoding in lower case; `may_be_binary` is set if
    /// programs take the saved part for a file of ciphertext.
    pub fn new(
        content_type: &ContentType,
        transfer: Option<&[u8]>,
        may_be_binary: bool,
    ) -> Result<Self, Plain> {
        // Without base64, binary ciphertext may contain lines that look like boundaries.
        let binary = may_be_binary && transfer == Some(b"base64");
        let kind = match content_type.name.as_str() {
            "text/plain" if is_like_ascii(content_type.charset.as_deref()) => Kind::Text(Armored::default()),
            "text/html" if is_like_ascii(content_type.charset.as_deref()) => Kind::Html(Vec::new()),
            "application/pkcs7-mime" | "application/x-pkcs7-mime" if binary => Kind::Cms(Cms::default()),
            "application/pgp-encrypted" => Kind::Application { control: true, binary },
            "application/octet-stream" | "application/pgp" => Kind::Application { control: false, binary },
            _ => return Err(Plain),
        };
        let mislabelled = matches!(kind, Kind::Text(_)) && transfer == Some(b"quoted-printable");
        let undecoded = mislabelled.then(Armored::default);
        Ok(Self { transfer: Transfer::new(transfer)?, kind, undecoded, decoded: Vec::new() })
    }

    /// Reads the next bytes of the body, still encoded.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Plain> {
        if self.undecoded.as_mut().is_some_and(|armor| armor.feed(bytes).is_err()) {
            self.undecoded = None;
        }
        self.decoded.clear();
        match self.transfer.decode(bytes, &mut self.decoded).and_then(|()| self.kind.feed(&self.decoded)) {
            Err(Plain) if self.undecoded.is_some() => {
                self.kind = Kind::Failed;
                Ok(())
            }
            result => result,
        }
    }

    /// Returns how many bytes of the part are readable: the armor headers.
    pub fn readable_bytes(&self) -> usize {
        match &self.kind {
            Kind::Text(armor) | Kind::Armored(armor) => armor.header_bytes(),
            _ => self.undecoded.as_ref().map_or(0, Armored::header_bytes),
        }
    }

    /// Returns the content of the whole part, or fails if it is neither blank nor ciphertext.
    pub fn finish(mut self) -> Result<Content, Plain> {
        if self.undecoded.take().is_some_and(|armor| armor.finish().is_ok()) {
            return Ok(Content::Encrypted);
        }
        self.decoded.clear();
        self.transfer.finish(&mut self.decoded)?;
        self.kind.feed(&self.decoded)?;
        match self.kind {
            Kind::Text(armor) if armor.is_blank() => Ok(Content::Blank),
            Kind::Html(text) if html::is_empty(&text) => Ok(Content::Blank),
            Kind::Text(armor) | Kind::Armored(armor) => armor.finish().map(|()| Content::Encrypted),
            Kind::Cms(cms) => cms.finish().map(|()| Content::Encrypted),
            Kind::Binary(message) => message.finish().map(|()| Content::Encrypted),
            Kind::Control(text) if is_control(&text) => Ok(Content::Control),
            Kind::Control(_) | Kind::Html(_) | Kind::Application { .. } | Kind::Failed => Err(Plain),
        }
    }
}

impl Kind {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Plain> {
        if let Self::Application { control, binary } = *self {
            match bytes.iter().copied().find(|&b| !is_space(b)) {
                None => return Ok(()),
                Some(b'V' | b'v') if control => *self = Self::Control(Vec::new()),
                Some(byte @ 0x80..) if binary && !begins_wide_space(byte) => {
                    *self = Self::Binary(Packets::default())
                }
                Some(_) => *self = Self::Armored(Armored::default()),
            }
        }
        match self {
            Self::Text(armor) | Self::Armored(armor) => armor.feed(bytes),
            Self::Cms(cms) => cms.feed(bytes),
            Self::Binary(message) => message.feed(bytes),
            Self::Control(text) => collect(text, bytes, MAX_CONTROL),
            Self::Html(text) => collect(text, bytes, html::MAX_BYTES),
            Self::Application { .. } | Self::Failed => Ok(()),
        }
    }
}

fn collect(text: &mut Vec<u8>, bytes: &[u8], most: usize) -> Result<(), Plain> {
    text.extend_from_slice(bytes);
    if text.len() > most {
        return Err(Plain);
    }
    Ok(())
}

/// Returns true if ASCII letters and digits mean themselves in this charset. In UTF-7, base64 digits can
/// spell another text.
fn is_like_ascii(charset: Option<&str>) -> bool {
    charset.is_none_or(|c| {
        matches!(c, "us-ascii" | "ascii" | "utf-8")
            || c.starts_with("iso-8859-")
            || c.starts_with("windows-125")
    })
}

fn is_control(text: &[u8]) -> bool {
    let words: Vec<u8> = text.iter().filter(|&&b| !is_space(b)).map(u8::to_ascii_lowercase).collect();
    words == b"version:1"
}
