//! Gets the packets or the DER out of a certificate file: binary, armored blocks (of OpenPGP, or PEM) with any text around
//! them, or bare base64, the text in UTF-16 or with quoting, too. What it reads is handed on in pieces, so memory does not depend on the size of the file.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use base64::Engine;

use super::trouble::Trouble;
use super::x509;
use crate::openpgp::armor::checksum;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
/// The kinds of blocks that hold certificates, as they stand behind `BEGIN`. PEM has more names for them than that of the
/// standard.
const KINDS: [&[u8]; 4] =
    [b"PGP PUBLIC KEY", b"PGP PRIVATE KEY", b"CERTIFICATE-----", b"X509 CERTIFICATE-----"];
const DAMAGED: &str = "its armor is damaged";
const DAMAGED_BASE64: &str = "its base64 is damaged or cut off";
const CUT_OFF: &str = "its armor has no END line: it is cut off";
/// What a text is read in, in bytes: a line, or so much of a longer one.
const PIECE: usize = 16 << 10;
/// The least that a line without an empty line in front must have to be taken for base64 and not for an armor header.
const LEAST_BASE64_LINE: usize = 40;
const KEYBOX: &[u8] = b"KBXf";

/// The last digit before the padding may have bits that are not used.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// How the packets are written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Binary,
    /// In armored blocks (RFC 9580, section 6; RFC 7468).
    Armored,
    /// In base64, and nothing else.
    Base64,
}

/// The form of a file, and whether its text is in UTF-16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// How the packets are written.
    pub form: Form,
    /// The byte order, if it is UTF-16.
    utf16: Option<Order>,
}

/// The encodings that there are, in the order of their numbers in an index that lasts.
pub const ENCODINGS: [Encoding; 7] = {
    const fn of(form: Form, utf16: Option<Order>) -> Encoding {
        Encoding { form, utf16 }
    }
    [
        of(Form::Binary, None),
        of(Form::Armored, None),
        of(Form::Armored, Some(Order::Little)),
        of(Form::Armored, Some(Order::Big)),
        of(Form::Base64, None),
        of(Form::Base64, Some(Order::Little)),
        of(Form::Base64, Some(Order::Big)),
    ]
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

/// The place of a packet in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Where to begin to read, in bytes of the file, or in characters if it is UTF-16.
    pub at: u64,
    /// How many bytes of packets stand between there and the packet.
    pub skip: u32,
}

/// What is read, in the order of the file.
#[derive(Debug)]
pub enum Part<'a> {
    /// Bytes of packets, and the place from which they are read.
    Bytes(u64, &'a [u8]),
    /// A private key in PEM begins, which is not read.
    PrivateKey,
    /// The checksum of a block, as it is written.
    Checksum(u32),
    /// The end of a block, or of the file. What is wrong with the block, if something is.
    End(Option<&'static str>),
}

/// Takes what is read.
pub type Take<'a> = dyn FnMut(Part<'_>) -> Result<(), Trouble> + 'a;

impl Encoding {
    /// Tells how a file may be written by its first bytes, the likeliest way first. There are several ways because text can
    /// begin with a byte that looks like a packet: an umlaut, or a byte order mark.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or if it is a keybox.
    pub fn candidates(input: &mut (impl Read + Seek)) -> Result<Vec<Self>, Trouble> {
        let mut first = Vec::new();
        input.by_ref().take(12).read_to_end(&mut first).map_err(Trouble::reading)?;
        if first.get(8..) == Some(KEYBOX) {
            return Err(Trouble::refused("it is a keybox of GnuPG: export it (gpg --export > FILE)"));
        }
        let utf16 = match first[..] {
            [0xff, 0xfe, ..] | [b'-', 0, ..] => Some(Order::Little),
            [0xfe, 0xff, ..] | [0, b'-', ..] => Some(Order::Big),
            _ => None,
        };
        let is_binary = match first[..] {
            [x509::SEQUENCE, next, ..] | [next, ..] => next >= 0x80,
            [] => false,
        };
        let binary = is_binary.then_some((Form::Binary, None));
        let text = [(Form::Armored, utf16), (Form::Base64, utf16)];
        Ok(binary.into_iter().chain(text).map(|(form, utf16)| Self { form, utf16 }).collect())
    }

    /// Reads all packets of a file, from its beginning.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or if `take` fails.
    pub fn read(self, mut input: impl Read + Seek, take: &mut Take<'_>) -> Result<(), Trouble> {
        input.rewind().map_err(Trouble::reading)?;
        let state = if self.form == Form::Armored { State::Outside } else { State::Data };
        self.read_from(input, state, 0, take)
    }

    /// Reads `size` bytes of packets, which are known to stand at `position`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or has fewer bytes there.
    pub fn read_at(
        self,
        mut input: impl Read + Seek,
        position: Position,
        size: usize,
    ) -> Result<Vec<u8>, Trouble> {
        let at = if self.utf16.is_some() { position.at * 2 } else { position.at };
        input.seek(SeekFrom::Start(at)).map_err(Trouble::reading)?;
        let skip = position.skip as usize;
        let mut data = Vec::new();
        let mut ended = false;
        // A stop is no failure: `take` has no other way to say that it has enough.
        let enough = Trouble::refused("it has changed");
        let result = self.read_from(input, State::Data, position.at, &mut |part| match part {
            Part::Bytes(_, bytes) => {
                data.extend_from_slice(bytes);
                ended = data.len() >= skip + size;
                if ended {
                    Err(enough.clone())
                } else {
                    Ok(())
                }
            }
            Part::Checksum(_) | Part::PrivateKey => Ok(()),
            Part::End(_) => Err(enough.clone()),
        });
        match result {
            Err(why) if !ended => Err(why),
            _ if !ended => Err(enough),
            _ => Ok(data[skip..skip + size].to_vec()),
        }
    }

    fn read_from(self, input: impl Read, state: State, at: u64, take: &mut Take<'_>) -> Result<(), Trouble> {
        if self.form == Form::Binary {
            return read_binary(input, at, take);
        }
        let mut pieces = Pieces { input: BufReader::new(Narrow { input, order: self.utf16 }), at };
        let is_bare = self.form == Form::Base64;
        let mut blocks = Blocks { state, is_bare, only_foreign: None, digits: Vec::new(), at: 0 };
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            let at = pieces.next(&mut piece).map_err(Trouble::reading)?;
            if piece.is_empty() {
                return blocks.end_of_file(take);
            }
            blocks.piece(at, &piece, take)?;
        }
    }
}

fn read_binary(mut input: impl Read, mut at: u64, take: &mut Take<'_>) -> Result<(), Trouble> {
    let mut buffer = vec![0; PIECE];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return take(Part::End(None)),
            Ok(n) => {
                take(Part::Bytes(at, &buffer[..n]))?;
                at += n as u64;
            }
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(Trouble::reading(why)),
        }
    }
}

/// Reads UTF-16 as bytes: what is not ASCII becomes a question mark. Other text is read as it is.
struct Narrow<R> {
    input: R,
    order: Option<Order>,
}

impl<R: Read> Read for Narrow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(order) = self.order else { return self.input.read(buffer) };
        let mut wide = Vec::new();
        self.input.by_ref().take(2 * buffer.len() as u64).read_to_end(&mut wide)?;
        let narrow = |pair: &[u8]| match (order, pair) {
            (Order::Little, &[byte @ ..0x80, 0]) | (Order::Big, &[0, byte @ ..0x80]) => byte,
            _ => b'?',
        };
        let count = wide.chunks(2).count();
        buffer.iter_mut().zip(wide.chunks(2)).for_each(|(byte, pair)| *byte = narrow(pair));
        Ok(count)
    }
}

/// Reads a text line by line.
struct Pieces<R> {
    input: BufReader<R>,
    at: u64,
}

impl<R: Read> Pieces<R> {
    /// Reads the next line, or a part of it that fits. Returns its place in the file.
    fn next(&mut self, piece: &mut Vec<u8>) -> io::Result<u64> {
        piece.clear();
        (&mut self.input).take(PIECE as u64).read_until(b'\n', piece)?;
        let at = self.at;
        self.at += piece.len() as u64;
        Ok(at)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between blocks.
    Outside,
    /// In a block of something else.
    Foreign,
    /// Behind a BEGIN line: armor headers, until an empty line.
    Headers,
    Data,
    /// Behind the padding, until the END line: the checksum.
    Tail,
}

/// Reads blocks of base64.
struct Blocks {
    state: State,
    is_bare: bool,
    /// Whether all blocks so far are of something else; `None` if there was none.
    only_foreign: Option<bool>,
    /// Digits that have not been decoded, and the place of the first of them.
    digits: Vec<u8>,
    at: u64,
}

impl Blocks {
    fn piece(&mut self, at: u64, piece: &[u8], take: &mut Take<'_>) -> Result<(), Trouble> {
        if self.is_bare {
            let mark = if at == 0 { byte_order_mark(piece) } else { 0 };
            let digits = &piece[mark..];
            return if self.state == State::Data {
                self.digits(at + mark as u64, digits, take)
            } else {
                Ok(())
            };
        }
        // GnuPG disables the revocation certificates that it makes by a colon in front.
        let begins = memchr::memmem::find(piece, BEGIN).filter(|&n| !piece[..n].ends_with(b":"));
        if let Some(n) = begins {
            return self.begin(&piece[n + BEGIN.len()..], take);
        }
        let ends = memchr::memmem::find(piece, END).is_some();
        match self.state {
            State::Foreign if ends => self.state = State::Outside,
            State::Headers if ends => self.end(Some(DAMAGED), take)?,
            State::Data | State::Tail if ends => self.end(None, take)?,
            State::Data | State::Tail if written_checksum(piece).is_some() => {
                self.decode(self.digits.len() / 4 * 4, self.at, take)?;
                self.state = State::Tail;
                take(Part::Checksum(written_checksum(piece).unwrap_or_default()))?;
            }
            State::Headers if unquoted(piece).is_empty() => self.state = State::Data,
            State::Headers if is_base64_line(piece) => {
                self.state = State::Data;
                self.digits(at, piece, take)?;
            }
            State::Data => self.digits(at, piece, take)?,
            State::Outside | State::Foreign | State::Headers | State::Tail => {}
        }
        Ok(())
    }

    fn begin(&mut self, kind: &[u8], take: &mut Take<'_>) -> Result<(), Trouble> {
        if matches!(self.state, State::Headers | State::Data | State::Tail) {
            self.end(Some(CUT_OFF), take)?;
        }
        let holds_keys = KINDS.iter().any(|known| kind.starts_with(known));
        // RFC 7468, sections 10 and 11, and what OpenSSL writes beside: `RSA PRIVATE KEY`.
        let is_private_key = !holds_keys && memchr::memmem::find(kind, b"PRIVATE KEY-----").is_some();
        self.only_foreign = Some(!holds_keys && !is_private_key && self.only_foreign != Some(false));
        self.state = if holds_keys { State::Headers } else { State::Foreign };
        match is_private_key {
            true => take(Part::PrivateKey),
            false => Ok(()),
        }
    }

    /// Decodes a line of digits.
    fn digits(&mut self, at: u64, line: &[u8], take: &mut Take<'_>) -> Result<(), Trouble> {
        // The place of the first digit of the last, incomplete, four.
        let mut begins = self.at;
        let mut position = self.at;
        for (n, &byte) in line.iter().enumerate() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {
                    if self.digits.len() % 4 == 0 {
                        begins = at + n as u64;
                    }
                    if self.digits.is_empty() {
                        position = begins;
                    }
                    self.digits.push(byte);
                }
                b' ' | b'\t' | b'\r' | b'\n' | b'>' => {}
                b'=' if self.digits.len() % 4 != 1 => {
                    self.decode(self.digits.len(), position, take)?;
                    self.state = State::Tail;
                    return Ok(());
                }
                _ => return self.end(Some(self.damaged()), take),
            }
        }
        self.decode(self.digits.len() / 4 * 4, position, take)?;
        self.at = begins;
        Ok(())
    }

    /// Decodes the first digits: any number but one more than a multiple of four.
    fn decode(&mut self, count: usize, at: u64, take: &mut Take<'_>) -> Result<(), Trouble> {
        let bytes = BASE64.decode(&self.digits[..count]).unwrap_or_default();
        self.digits.drain(..count);
        if bytes.is_empty() {
            return Ok(());
        }
        take(Part::Bytes(at, &bytes))
    }

    fn end(&mut self, wrong: Option<&'static str>, take: &mut Take<'_>) -> Result<(), Trouble> {
        let left = self.digits.len();
        let wrong = wrong.or((left % 4 == 1).then_some(self.damaged()));
        // A block whose digits end without padding.
        if wrong.is_none() {
            self.decode(left, self.at, take)?;
        }
        self.digits.clear();
        self.state = if self.is_bare { State::Tail } else { State::Outside };
        take(Part::End(wrong))
    }

    fn damaged(&self) -> &'static str {
        if self.is_bare {
            DAMAGED_BASE64
        } else {
            DAMAGED
        }
    }

    fn end_of_file(&mut self, take: &mut Take<'_>) -> Result<(), Trouble> {
        match self.state {
            State::Outside | State::Foreign if self.only_foreign == Some(true) => take(Part::End(Some(
                "it is armored, but not a certificate (PGP PUBLIC KEY BLOCK, CERTIFICATE)",
            ))),
            State::Outside | State::Foreign => Ok(()),
            State::Data | State::Tail if self.is_bare => self.end(None, take),
            State::Headers | State::Data | State::Tail => self.end(Some(CUT_OFF), take),
        }
    }
}

/// Returns the length of a byte order mark in front of base64. That of UTF-16 has become a question mark.
fn byte_order_mark(text: &[u8]) -> usize {
    [&b"\xef\xbb\xbf"[..], b"?"].into_iter().find(|mark| text.starts_with(mark)).map_or(0, <[u8]>::len)
}

/// Reads a checksum line: `=` and four digits (RFC 9580, section 6.1).
fn written_checksum(line: &[u8]) -> Option<u32> {
    let bytes = BASE64.decode(unquoted(line).strip_prefix(b"=")?).ok()?;
    let [high, middle, low] = bytes.try_into().ok()?;
    Some(u32::from_be_bytes([0, high, middle, low]))
}

/// Returns true if the checksum of an armored block does not match its content: the block has been damaged, even if it can
/// still be read. RFC 9580, section 6.1, wants readers to ignore the checksum, and [`Encoding::read`] does. This check is for
/// the author who has pasted the block and can paste it again.
pub fn has_wrong_checksum(text: &[u8]) -> bool {
    let (mut content, mut is_wrong) = (Vec::new(), false);
    let armored = Encoding { form: Form::Armored, utf16: None };
    let read = armored.read(io::Cursor::new(text), &mut |part| {
        match part {
            Part::Bytes(_, bytes) => content.extend_from_slice(bytes),
            Part::PrivateKey => {}
            Part::Checksum(written) => is_wrong |= written != checksum(&content),
            Part::End(_) => content.clear(),
        }
        Ok(())
    });
    read.is_ok() && is_wrong
}

/// Returns a line without the marks of quoting in front, and without white space around it.
fn unquoted(line: &[u8]) -> &[u8] {
    let begins = line.iter().position(|byte| !matches!(byte, b'>' | b' ' | b'\t')).unwrap_or(line.len());
    line[begins..].trim_ascii()
}

fn is_base64_line(line: &[u8]) -> bool {
    let line = unquoted(line);
    line.len() >= LEAST_BASE64_LINE
        && line
            .iter()
            .all(|byte| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'='))
}
