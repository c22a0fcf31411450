//! Writes the container that all OpenPGP software reads: a Symmetrically Encrypted and Integrity Protected
//! Data packet of version 1 (RFC 9580, section 5.13.1).
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

use super::packet::tag;
use super::partial_body::PartialBody;
use crate::certs::choose::RecipientKeys;
use crate::certs::post_quantum::fits_seipd1;

/// The block size of AES, in bytes.
const BLOCK: usize = 16;
/// The bytes that are hashed and then encrypted in one step. They stay in the processor's first cache, of 32
/// KiB or more.
const STEP: usize = 8 << 10;

/// Hashes and encrypts the bytes that are written to it, as the content of the container.
pub struct Seipd1<W: Write> {
    hash: Sha1,
    cipher: Encryptor<PartialBody<W>>,
}

impl<W: Write> Seipd1<W> {
    /// Writes a PKESK packet for each key of `recipients`, and begins the container.
    ///
    /// # Errors
    ///
    /// Fails if the crypto library does, or if `out` cannot be written.
    pub fn new(recipients: &[RecipientKeys], mut out: W) -> openpgp::Result<Self> {
        let session_key = write_session_keys(recipients, &mut out)?;
        let mut body = PartialBody::new(tag::SEIPD, out);
        body.write_all(&[1])?;
        // RFC 9580, section 5.13.1: CFB without resynchronisation, and an IV of zeros
        let (mode, padding) = (BlockCipherMode::CFB, PaddingMode::None);
        let cipher = Encryptor::new(SymmetricAlgorithm::AES256, mode, padding, &session_key, None, body)?;
        let mut container = Self { hash: Sha1::new(), cipher };
        // RFC 9580, section 5.13.1: a random block, whose last two bytes are repeated
        let mut prefix = [0; BLOCK + 2];
        random(&mut prefix[..BLOCK])?;
        prefix.copy_within(BLOCK - 2..BLOCK, BLOCK);
        container.write_all(&prefix)?;
        Ok(container)
    }

    /// Writes the modification detection code (RFC 9580, section 5.13.1): the hash of everything before it,
    /// including the header of its own packet. Returns `out`.
    ///
    /// # Errors
    ///
    /// The errors of [`Seipd1::new`].
    pub fn finish(mut self) -> openpgp::Result<W> {
        const HEADER: [u8; 2] = [0xc0 | tag::MDC, 20];
        self.hash.update(HEADER);
        self.cipher.write_all(&HEADER)?;
        self.cipher.write_all(&self.hash.finalize())?;
        Ok(self.cipher.finalize()?.finish()?)
    }
}

impl<W: Write> Write for Seipd1<W> {
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

/// Makes a session key, and writes it for each key that can have it in a version 3 PKESK packet (RFC 9580, section 5.1.1).
fn write_session_keys(recipients: &[RecipientKeys], out: &mut impl Write) -> openpgp::Result<SessionKey> {
    let algorithm = SymmetricAlgorithm::AES256;
    let session_key = SessionKey::new(algorithm.key_size()?)?;
    for key in recipients.iter().flat_map(|r| &r.keys).filter(|key| fits_seipd1(key.pk_algo())) {
        let pkesk = PKESK3::for_recipient(algorithm, &session_key, key)?;
        let mut bytes = Vec::new();
        Packet::from(PKESK::from(pkesk)).serialize(&mut bytes)?;
        out.write_all(&bytes)?;
    }
    Ok(session_key)
}
