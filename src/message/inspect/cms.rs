//! Recognises an encrypted CMS object (S/MIME, RFC 8551) by the content type inside of it: labels in the
//! message can lie.

use super::plain::Plain;

/// id-envelopedData, RFC 5652, section 6.1: 1.2.840.113549.1.7.3
const ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
/// id-ct-authEnvelopedData, RFC 5083, section 2.1: 1.2.840.113549.1.9.16.1.23
const AUTH_ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x17];

/// The bytes that are kept: no more are needed to reach the recipients, with the longest of the lengths and
/// identifiers.
const PREFIX: usize = 40;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const EXPLICIT_0: u8 = 0xa0;
const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// Reads DER or BER in pieces.
#[derive(Default)]
pub struct Cms {
    prefix: Vec<u8>,
    total: u64,
    /// The last two bytes.
    tail: [u8; 2],
}

impl Cms {
    /// Reads the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Plain> {
        let missing = PREFIX.saturating_sub(self.prefix.len());
        self.prefix.extend(bytes.iter().take(missing));
        for &byte in bytes.iter().skip(bytes.len().saturating_sub(2)) {
            self.tail = [self.tail[1], byte];
        }
        self.total += bytes.len() as u64;
        if self.prefix.len() == PREFIX {
            self.check_prefix().map(|_| ())
        } else {
            Ok(())
        }
    }

    /// Fails unless the object was encrypted, complete, and alone.
    pub fn finish(self) -> Result<(), Plain> {
        let complete = match self.check_prefix()? {
            Some(total) => self.total == total,
            // The length is indefinite: end-of-contents octets end the object (X.690, section 8.1.5).
            None => self.tail == [0, 0],
        };
        if complete {
            Ok(())
        } else {
            Err(Plain)
        }
    }

    /// Checks the beginning of a ContentInfo (RFC 5652, section 3), up to the recipients of its EnvelopedData
    /// or AuthEnvelopedData. Returns the size of the whole object, or `None` if its length is indefinite.
    fn check_prefix(&self) -> Result<Option<u64>, Plain> {
        let mut der = Der { data: &self.prefix, at: 0 };
        let end = der.constructed(SEQUENCE)?;
        let oid = der.primitive(OBJECT_IDENTIFIER)?;
        // Both inner values end where the whole object does, unless their length is indefinite.
        let content_ends = [der.constructed(EXPLICIT_0)?, der.constructed(SEQUENCE)?];
        let version = der.primitive(INTEGER)?;
        let recipients = der.byte()?;
        let is_encrypted = oid == ENVELOPED_DATA || oid == AUTH_ENVELOPED_DATA;
        // An optional OriginatorInfo, tagged [0], may come before the recipients.
        let is_complete = matches!(version, [0..=4]) && matches!(recipients, SET | EXPLICIT_0);
        let ends_agree = end.is_none_or(|end| content_ends.iter().flatten().all(|inner| *inner == end));
        if is_encrypted && is_complete && ends_agree {
            Ok(end)
        } else {
            Err(Plain)
        }
    }
}

/// Reads BER (X.690, section 8.1).
struct Der<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Der<'a> {
    fn byte(&mut self) -> Result<u8, Plain> {
        let byte = *self.data.get(self.at).ok_or(Plain)?;
        self.at += 1;
        Ok(byte)
    }

    /// Enters a value. Returns its end, counted from the beginning of the data, or `None` if its length is
    /// indefinite.
    fn constructed(&mut self, tag: u8) -> Result<Option<u64>, Plain> {
        if self.byte()? != tag {
            return Err(Plain);
        }
        let length = match self.byte()? {
            0x80 => return Ok(None),
            short @ 0..=0x7f => u64::from(short),
            long @ 0x81..=0x84 => {
                let mut length = 0;
                for _ in 0x80..long {
                    length = length << 8 | u64::from(self.byte()?);
                }
                length
            }
            _ => return Err(Plain),
        };
        Ok(Some(self.at as u64 + length))
    }

    /// Returns the content of a short value.
    fn primitive(&mut self, tag: u8) -> Result<&'a [u8], Plain> {
        let end = self.constructed(tag)?.and_then(|end| usize::try_from(end).ok()).ok_or(Plain)?;
        let bytes = self.data.get(self.at..end).ok_or(Plain)?;
        self.at = end;
        Ok(bytes)
    }
}
