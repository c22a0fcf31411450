//! One leaf part: what its content is.

use super::armored::Armored;
use super::cms::Cms;
use super::content_type::ContentType;
use super::packets::Packets;
use super::plain::{is_space, Plain};
use super::transfer::Transfer;

/// What a leaf turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// White space.
    Blank,
    /// The control part of RFC 3156, section 4: `Version: 1`.
    Control,
    /// Encrypted from its first byte to its last.
    Encrypted,
}

/// Largest control part, in bytes.
const MAX_CONTROL: usize = 256;

/// Looks at the body of a leaf as it comes by.
pub struct Leaf {
    transfer: Transfer,
    kind: Kind,
    /// Armored labelled as quoted-printable that is not: its padding (`=`) would be taken for an escape.
    undecoded: Option<Armored>,
    decoded: Vec<u8>,
}

enum Kind {
    /// `text/plain`: only an armored message is encrypted text.
    Text(Armored),
    /// `application/pkcs7-mime`
    Cms(Cms),
    /// A part of ciphertext, of which nothing has been seen yet: whether it may be a control part, and
    /// whether it may be binary.
    Application {
        control: bool,
        binary: bool,
    },
    Control(Vec<u8>),
    Binary(Packets),
    Armored(Armored),
    /// Not encrypted as it is decoded; as it stands it still may be.
    Failed,
}

impl Leaf {
    /// A leaf of the given type and transfer encoding (in lower case). `may_be_binary`: whether a program that opens it
    /// as a file would take that for ciphertext, too.
    pub fn new(
        content_type: &ContentType,
        transfer: Option<&[u8]>,
        may_be_binary: bool,
    ) -> Result<Self, Plain> {
        // Ciphertext that is not encoded may hold anything, lines that look like boundaries included.
        let binary = may_be_binary && transfer == Some(b"base64");
        let kind = match content_type.name.as_str() {
            "text/plain" if is_like_ascii(content_type.charset.as_deref()) => Kind::Text(Armored::default()),
            "application/pkcs7-mime" | "application/x-pkcs7-mime" if binary => Kind::Cms(Cms::default()),
            "application/pgp-encrypted" => Kind::Application { control: true, binary },
            "application/octet-stream" | "application/pgp" => Kind::Application { control: false, binary },
            _ => return Err(Plain),
        };
        let mislabelled = matches!(kind, Kind::Text(_)) && transfer == Some(b"quoted-printable");
        let undecoded = mislabelled.then(Armored::default);
        Ok(Self { transfer: Transfer::new(transfer)?, kind, undecoded, decoded: Vec::new() })
    }

    /// Takes the next bytes, as they stand in the message.
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

    /// How many bytes in it are readable, though it is encrypted: the armor headers.
    pub fn readable_bytes(&self) -> usize {
        match &self.kind {
            Kind::Text(armor) | Kind::Armored(armor) => armor.header_bytes(),
            _ => self.undecoded.as_ref().map_or(0, Armored::header_bytes),
        }
    }

    /// What it was.
    pub fn finish(mut self) -> Result<Content, Plain> {
        if self.undecoded.take().is_some_and(|armor| armor.finish().is_ok()) {
            return Ok(Content::Encrypted);
        }
        self.decoded.clear();
        self.transfer.finish(&mut self.decoded)?;
        self.kind.feed(&self.decoded)?;
        match self.kind {
            Kind::Text(armor) if armor.is_blank() => Ok(Content::Blank),
            Kind::Text(armor) | Kind::Armored(armor) => armor.finish().map(|()| Content::Encrypted),
            Kind::Cms(cms) => cms.finish().map(|()| Content::Encrypted),
            Kind::Binary(message) => message.finish().map(|()| Content::Encrypted),
            Kind::Control(text) if is_control(&text) => Ok(Content::Control),
            Kind::Control(_) | Kind::Application { .. } | Kind::Failed => Err(Plain),
        }
    }
}

impl Kind {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Plain> {
        if let Self::Application { control, binary } = *self {
            match bytes.iter().copied().find(|&b| !is_space(b)) {
                None => return Ok(()),
                Some(b'V' | b'v') if control => *self = Self::Control(Vec::new()),
                Some(0x80..) if binary => *self = Self::Binary(Packets::default()),
                Some(_) => *self = Self::Armored(Armored::default()),
            }
        }
        match self {
            Self::Text(armor) | Self::Armored(armor) => armor.feed(bytes),
            Self::Cms(cms) => cms.feed(bytes),
            Self::Binary(message) => message.feed(bytes),
            Self::Control(text) => {
                text.extend_from_slice(bytes);
                if text.len() > MAX_CONTROL {
                    return Err(Plain);
                }
                Ok(())
            }
            Self::Application { .. } | Self::Failed => Ok(()),
        }
    }
}

/// Whether digits of base64 in this charset are those digits. In UTF-7, for one, they can be another text.
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
