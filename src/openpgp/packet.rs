//! Reads the framing of OpenPGP packets (RFC 9580, section 4.2).
//!
//! The content of packets is not parsed: messages are recognised by their framing, and certificates are split
//! and filtered before sequoia's parser sees them.

/// Packet types (RFC 9580, section 5).
pub mod tag {
    #![allow(missing_docs)]
    pub const PKESK: u8 = 1;
    pub const SIGNATURE: u8 = 2;
    pub const SKESK: u8 = 3;
    pub const SECRET_KEY: u8 = 5;
    pub const PUBLIC_KEY: u8 = 6;
    pub const SECRET_SUBKEY: u8 = 7;
    pub const COMPRESSED: u8 = 8;
    pub const SED: u8 = 9;
    pub const MARKER: u8 = 10;
    pub const LITERAL: u8 = 11;
    pub const USER_ID: u8 = 13;
    pub const PUBLIC_SUBKEY: u8 = 14;
    pub const USER_ATTRIBUTE: u8 = 17;
    pub const SEIPD: u8 = 18;
    pub const MDC: u8 = 19;
    pub const OCB_ENCRYPTED: u8 = 20;
    pub const PADDING: u8 = 21;
}

/// The length of a packet body, as a length field gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// The body ends after so many bytes.
    Full(u64),
    /// After so many bytes, another length field follows.
    Partial(u64),
    /// The body reaches to the end of the data (old format only).
    ToEnd,
}

/// The header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The packet type.
    pub tag: u8,
    /// The length of the body, or of its first part.
    pub length: BodyLength,
    /// The size of the header itself, in bytes.
    pub size: usize,
}

/// The data does not begin with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPacket;

/// Longest packet header, in bytes: type, length marker, and four bytes of length.
pub const LONGEST_HEADER: usize = 6;

impl Header {
    /// Reads the header at the beginning of `data`. Returns `None` if more bytes are needed.
    pub fn parse(data: &[u8]) -> Result<Option<Self>, NotAPacket> {
        let Some((&first, rest)) = data.split_first() else { return Ok(None) };
        match first {
            0xc0.. => {
                let found = new_format_length(rest);
                Ok(found.map(|(length, size)| Self { tag: first & 0x3f, length, size: 1 + size }))
            }
            0x80..=0xbf => {
                let found = old_format_length(first & 0x03, rest);
                Ok(found.map(|(length, size)| Self { tag: (first >> 2) & 0x0f, length, size: 1 + size }))
            }
            _ => Err(NotAPacket),
        }
    }
}

/// Reads a length field of the new format (RFC 9580, section 4.2.1). Returns the length, and the size of the
/// field in bytes.
pub fn new_format_length(data: &[u8]) -> Option<(BodyLength, usize)> {
    match *data {
        [n @ 0..=191, ..] => Some((BodyLength::Full(n.into()), 1)),
        [a @ 192..=223, b, ..] => {
            Some((BodyLength::Full(((u64::from(a) - 192) << 8) + u64::from(b) + 192), 2))
        }
        [n @ 224..=254, ..] => Some((BodyLength::Partial(1 << (n & 0x1f)), 1)),
        [255, a, b, c, d, ..] => Some((BodyLength::Full(u32::from_be_bytes([a, b, c, d]).into()), 5)),
        _ => None,
    }
}

/// Reads a length field of the old format (RFC 9580, section 4.2.2). Returns the length, and the size of the
/// field in bytes.
fn old_format_length(kind: u8, data: &[u8]) -> Option<(BodyLength, usize)> {
    match (kind, data) {
        (0, [n, ..]) => Some((BodyLength::Full((*n).into()), 1)),
        (1, [a, b, ..]) => Some((BodyLength::Full(u16::from_be_bytes([*a, *b]).into()), 2)),
        (2, [a, b, c, d, ..]) => Some((BodyLength::Full(u32::from_be_bytes([*a, *b, *c, *d]).into()), 4)),
        (3, _) => Some((BodyLength::ToEnd, 0)),
        _ => None,
    }
}

/// Iterates over the packets in `data`. Each item has the packet type and all bytes of the packet, header
/// included. The iteration ends with `NotAPacket` at the first byte that is not a packet, or at a packet that
/// is cut off. Packets of partial or unknown length end it, too: they only hold data, never keys (RFC 9580,
/// section 4.2.1.4).
pub fn packets(mut data: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), NotAPacket>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let found = split_packet(data);
        data = found.map_or(&[], |(_, _, rest)| rest);
        Some(found.map(|(tag, packet, _)| (tag, packet)).ok_or(NotAPacket))
    })
}

fn split_packet(data: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let header = Header::parse(data).ok()??;
    let BodyLength::Full(length) = header.length else { return None };
    let (packet, rest) = data.split_at_checked(header.size.checked_add(usize::try_from(length).ok()?)?)?;
    Some((header.tag, packet, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_formats() {
        let header = |tag, length, size| Ok(Some(Header { tag, length, size }));
        assert_eq!(Header::parse(&[0xd2, 0xff, 0, 1, 0, 0]), header(18, BodyLength::Full(65536), 6));
        assert_eq!(Header::parse(&[0xc1, 0xc0, 0x00]), header(1, BodyLength::Full(192), 3));
        assert_eq!(Header::parse(&[0xd2, 0xef]), header(18, BodyLength::Partial(32768), 2));
        assert_eq!(Header::parse(&[0x85, 0x01, 0x0c]), header(1, BodyLength::Full(268), 3));
        assert_eq!(Header::parse(&[0xa7]), header(9, BodyLength::ToEnd, 1));
        for incomplete in [&[][..], &[0xd2], &[0xd2, 0xff, 0, 0], &[0x85, 0]] {
            assert_eq!(Header::parse(incomplete), Ok(None));
        }
        assert_eq!(Header::parse(b"-----BEGIN"), Err(NotAPacket));
    }

    #[test]
    fn a_cut_packet_is_not_one() {
        let data = [0xcd, 2, b'a', b'b', 0xcd, 3, b'c'];
        let found: Vec<_> = packets(&data).collect();
        assert_eq!(found, [Ok((13, &data[..4])), Err(NotAPacket)]);
        assert_eq!(packets(&[0xd2, 0xe0, 1, 1, 2]).collect::<Vec<_>>(), [Err(NotAPacket)]);
    }
}
