//! The encrypted container that all OpenPGP software reads, written as its content streams by: a Symmetrically
//! Encrypted and Integrity Protected Data packet of version 1 (RFC 9580, section 5.13.1) around one literal
//! packet (section 5.9).
//!
//! sequoia writes the same, at a third of the speed (its SHA-1 looks for collision attacks, which the
//! checksum here has no use for) and with buffers of 4 MiB. Cipher and hash are OpenSSL's, as in sequoia.

use sequoia_openpgp as openpgp;

use openpgp::crypto::{random, SessionKey};
use openpgp::packet::pkesk::PKESK3;
use openpgp::packet::{Packet, PKESK};
use openpgp::serialize::Serialize;
use openpgp::types::SymmetricAlgorithm;

use ossl::cipher::{AesSize, EncAlg, OsslCipher};
use ossl::digest::{DigestAlg, OsslDigest};
use ossl::{OsslContext, OsslSecret};

use std::io::{self, Write};
use std::sync::OnceLock;

use crate::certs::keys::RecipientKeys;
use crate::error::Result;
use crate::message::assemble::unwritable;
use crate::openpgp::failed;
use crate::packet::tag;

/// The block size of AES, in bytes.
const BLOCK: usize = 16;
/// The size of a partial body (RFC 9580, section 4.2.1.4), as a power of two.
const PARTIAL_BITS: u8 = 16;
/// How much is hashed and encrypted in one step: little enough to stay in the first cache.
const STEP: usize = 8 << 10;

/// Writes a session key packet for each key of `recipients`, then the container, whose content `payload`
/// writes.
///
/// # Errors
///
/// Those of `payload`, of the crypto library, and of `out`.
pub fn write<T>(
    recipients: &[RecipientKeys],
    out: &mut (dyn Write + Send + Sync),
    payload: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    let session_key = write_session_keys(recipients, out).map_err(failed)?;
    let container = Container::new(&session_key, out).map_err(failed)?;
    let mut literal = PartialBody::new(tag::LITERAL, container);
    // RFC 9580, section 5.9: binary, no file name, no date
    literal.write_all(&[b'b', 0, 0, 0, 0, 0]).map_err(|e| unwritable(&e))?;
    let written = payload(&mut literal)?;
    literal.finish().and_then(Container::finish).map_err(|e| unwritable(&e))?;
    Ok(written)
}

/// Makes a session key and writes it for each key: version 3 PKESK packets (RFC 9580, section 5.1.1).
fn write_session_keys(recipients: &[RecipientKeys], out: &mut dyn Write) -> openpgp::Result<SessionKey> {
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

/// The content of the container: what is written is hashed, encrypted and handed on.
struct Container<W: Write> {
    cipher: OsslCipher,
    hash: OsslDigest,
    encrypted: Vec<u8>,
    inner: PartialBody<W>,
}

impl<W: Write> Container<W> {
    fn new(session_key: &SessionKey, out: W) -> openpgp::Result<Self> {
        let context = context();
        let cipher = OsslCipher::new(
            context,
            EncAlg::AesCfb128(AesSize::Aes256),
            true,
            OsslSecret::from_slice(session_key),
            Some(vec![0; BLOCK]),
            None,
        )?;
        let hash = OsslDigest::new(context, DigestAlg::Sha1, None)?;
        let mut inner = PartialBody::new(tag::SEIPD, out);
        inner.write_all(&[1])?;
        let mut container = Self { cipher, hash, encrypted: vec![0; STEP], inner };
        // A random block, and its last two bytes again.
        let mut prefix = [0; BLOCK + 2];
        random(&mut prefix[..BLOCK])?;
        prefix.copy_within(BLOCK - 2..BLOCK, BLOCK);
        container.write_all(&prefix)?;
        Ok(container)
    }

    /// Writes the modification detection code (RFC 9580, section 5.13.1): the hash of all that was written, the
    /// packet's own header included.
    fn finish(mut self) -> io::Result<()> {
        const HEADER: [u8; 2] = [0xc0 | tag::MDC, 20];
        self.hash.update(&HEADER).map_err(io::Error::other)?;
        let mut code = [0; 22];
        code[..2].copy_from_slice(&HEADER);
        self.hash.finalize(&mut code[2..]).map_err(io::Error::other)?;
        self.encrypt(&code)?;
        self.inner.finish()?.flush()
    }

    fn encrypt(&mut self, data: &[u8]) -> io::Result<()> {
        let encrypted = &mut self.encrypted[..data.len()];
        let length = self.cipher.update(data, encrypted).map_err(io::Error::other)?;
        self.inner.write_all(&encrypted[..length])
    }
}

impl<W: Write> Write for Container<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        for step in data.chunks(STEP) {
            self.hash.update(step).map_err(io::Error::other)?;
            self.encrypt(step)?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A packet whose size is not known in advance: in partial bodies, the last of which has the rest.
struct PartialBody<W: Write> {
    inner: W,
    /// The packet type, until it has been written.
    header: Option<u8>,
    body: Vec<u8>,
}

impl<W: Write> PartialBody<W> {
    fn new(tag: u8, inner: W) -> Self {
        Self { inner, header: Some(0xc0 | tag), body: Vec::with_capacity(1 << PARTIAL_BITS) }
    }

    fn write_header(&mut self) -> io::Result<()> {
        self.header.take().map_or(Ok(()), |header| self.inner.write_all(&[header]))
    }

    /// Writes what is left, and gives back the writer.
    fn finish(mut self) -> io::Result<W> {
        self.write_header()?;
        // RFC 9580, section 4.2.1.3: a length of five bytes, which is enough for any
        let length = u32::try_from(self.body.len()).map_err(io::Error::other)?;
        self.inner.write_all(&[0xff])?;
        self.inner.write_all(&length.to_be_bytes())?;
        self.inner.write_all(&self.body)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for PartialBody<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        // Full, and more is to come: the last one must not be partial.
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

/// OpenSSL's default library context, which Dovecot has set up for itself.
fn context() -> &'static OsslContext {
    static CONTEXT: OnceLock<OsslContext> = OnceLock::new();
    CONTEXT.get_or_init(|| OsslContext::from_ctx(std::ptr::null_mut()))
}
