//! Writes the container that all OpenPGP software reads: a Symmetrically Encrypted and Integrity Protected
//! Data packet of version 1 (RFC 9580, section 5.13.1) around one literal packet (section 5.9).
//!
//! sequoia writes the same container at a third of the speed and with buffers of 4 MiB: its SHA-1 detects
//! collision attacks, which do not matter for this checksum. The cipher is still sequoia's: OpenSSL
//! initialises ciphers for each library context, and sequoia does not share its own. Initialising another one
//! would take a new process longer than the whole message.

use sequoia_openpgp as openpgp;

use openpgp::crypto::symmetric::{BlockCipherMode, Encryptor, PaddingMode};
use openpgp::crypto::{random, SessionKey};
use openpgp::packet::pkesk::PKESK3;
use openpgp::packet::{Packet, PKESK};
use openpgp::serialize::Serialize;
use openpgp::types::SymmetricAlgorithm;

use sha1::{Digest, Sha1};

use std::io::{self, Write};

use super::crypto::failed;
use super::packet::tag;
use crate::certs::choose::RecipientKeys;
use crate::error::{Result, Unwritable};
use crate::sink::Sink;

/// The block size of AES, in bytes.
const BLOCK: usize = 16;
/// The size of a partial body (RFC 9580, section 4.2.1.4), as a power of two: 64 KiB, so that its headers
/// cost nothing and its buffer is small. 512 bytes is the least that the RFC allows.
const PARTIAL_BITS: u8 = 16;
/// The bytes that are hashed and then encrypted in one step. They stay in the processor's first cache, of 32
/// KiB or more.
const STEP: usize = 8 << 10;

/// Encrypts the bytes that are written to it, as the content of the literal packet.
pub struct Seipd1<W: Write>(PartialBody<Container<W>>);

impl<W: Write> Seipd1<W> {
    /// Writes a PKESK packet for each key of `recipients`, and begins the container.
    ///
    /// # Errors
    ///
    /// Fails if the crypto library does, or if `out` cannot be written.
    pub fn new(recipients: &[RecipientKeys], mut out: W) -> Result<Self> {
        let session_key = write_session_keys(recipients, &mut out).map_err(failed)?;
        let container = Container::new(&session_key, out).map_err(failed)?;
        let mut literal = PartialBody::new(tag::LITERAL, container);
        // RFC 9580, section 5.9: binary, no file name, no date
        literal.put(&[b'b', 0, 0, 0, 0, 0])?;
        Ok(Self(literal))
    }

    /// Ends both packets. Returns `out`.
    ///
    /// # Errors
    ///
    /// The errors of [`Seipd1::new`].
    pub fn finish(self) -> Result<W> {
        let container = self.0.finish().map_err(Unwritable)?;
        container.finish().map_err(failed)
    }
}

impl<W: Write> Write for Seipd1<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a session key, and writes it for each key in a version 3 PKESK packet (RFC 9580, section 5.1.1).
fn write_session_keys(recipients: &[RecipientKeys], out: &mut impl Write) -> openpgp::Result<SessionKey> {
    let algorithm = SymmetricAlgorithm::AES256;
    let session_key = SessionKey::new(algorithm.key_size()?)?;
    for key in recipients.iter().flat_map(|r| &r.keys) {
        let pkesk = PKESK3::for_recipient(algorithm, &session_key, key)?;
        let mut bytes = Vec::new();
        Packet::from(PKESK::from(pkesk)).serialize(&mut bytes)?;
        out.write_all(&bytes)?;
    }
    Ok(session_key)
}

/// Hashes and encrypts the bytes that are written to it, as the content of the container.
struct Container<W: Write> {
    hash: Sha1,
    cipher: Encryptor<PartialBody<W>>,
}

impl<W: Write> Container<W> {
    fn new(session_key: &SessionKey, out: W) -> openpgp::Result<Self> {
        let mut body = PartialBody::new(tag::SEIPD, out);
        body.write_all(&[1])?;
        // RFC 9580, section 5.13.1: CFB without resynchronisation, and an IV of zeros
        let (mode, padding) = (BlockCipherMode::CFB, PaddingMode::None);
        let cipher = Encryptor::new(SymmetricAlgorithm::AES256, mode, padding, session_key, None, body)?;
        let mut container = Self { hash: Sha1::new(), cipher };
        // RFC 9580, section 5.13.1: a random block, whose last two bytes are repeated
        let mut prefix = [0; BLOCK + 2];
        random(&mut prefix[..BLOCK])?;
        prefix.copy_within(BLOCK - 2..BLOCK, BLOCK);
        container.write_all(&prefix)?;
        Ok(container)
    }

    /// Writes the modification detection code (RFC 9580, section 5.13.1): the hash of everything before it,
    /// including the header of its own packet.
    fn finish(mut self) -> openpgp::Result<W> {
        const HEADER: [u8; 2] = [0xc0 | tag::MDC, 20];
        self.hash.update(HEADER);
        self.cipher.write_all(&HEADER)?;
        self.cipher.write_all(&self.hash.finalize())?;
        Ok(self.cipher.finalize()?.finish()?)
    }
}

impl<W: Write> Write for Container<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        for step in data.chunks(STEP) {
            self.hash.update(step);
            self.cipher.write_all(step)?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.cipher.flush()
    }
}

/// Writes a packet of unknown size in partial bodies. The last body has an ordinary length.
struct PartialBody<W: Write> {
    inner: W,
    /// The first byte of the packet, until it has been written.
    header: Option<u8>,
    body: Vec<u8>,
}

impl<W: Write> PartialBody<W> {
    fn new(tag: u8, inner: W) -> Self {
        Self { inner, header: Some(0xc0 | tag), body: Vec::new() }
    }

    fn write_header(&mut self) -> io::Result<()> {
        self.header.take().map_or(Ok(()), |header| self.inner.write_all(&[header]))
    }

    /// Writes the last body. Returns the inner writer.
    fn finish(mut self) -> io::Result<W> {
        self.write_header()?;
        // RFC 9580, section 4.2.1.3: the length field of five bytes, which fits all lengths
        let length = u32::try_from(self.body.len()).map_err(io::Error::other)?;
        self.inner.write_all(&[0xff])?;
        self.inner.write_all(&length.to_be_bytes())?;
        self.inner.write_all(&self.body)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for PartialBody<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        // The buffer is written only when more follows, because the last body must not be partial.
        if self.body.len() == 1 << PARTIAL_BITS && !data.is_empty() {
            self.write_header()?;
            self.inner.write_all(&[0xe0 | PARTIAL_BITS])?;
            self.inner.write_all(&self.body)?;
            self.body.clear();
        }
        let taken = data.len().min((1 << PARTIAL_BITS) - self.body.len());
        self.body.extend_from_slice(&data[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
