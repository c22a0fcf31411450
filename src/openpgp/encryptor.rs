//! Writes the OpenPGP message, for keys that have been chosen, in constant memory.

use sequoia_openpgp as openpgp;

use openpgp::serialize::stream::{self, Message, Recipient};
use openpgp::types::{AEADAlgorithm, Features, SymmetricAlgorithm};

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::armor::ArmorWriter;
use super::content::Content;
use super::crypto::failed;
use super::seipd1::Seipd1;
use crate::certs::choose::RecipientKeys;
use crate::error::{Error, Reason, Result, Unwritable};

/// The format of the encrypted container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// SEIPDv1 (RFC 9580, section 5.13.1), with version 3 PKESKs. All OpenPGP software reads it.
    Seipd1,
    /// SEIPDv2 (RFC 9580, section 5.13.2), with version 6 PKESKs and OCB.
    Seipd2,
}

impl Container {
    /// Chooses the container that all recipients read.
    ///
    /// # Errors
    ///
    /// Fails if there is none.
    pub fn that_all_read(recipients: &[RecipientKeys]) -> Result<Self> {
        if recipients.iter().all(|r| r.reads_seipd2) {
            return Ok(Self::Seipd2);
        }
        match recipients.iter().find(|r| !r.reads_seipd1) {
            None => Ok(Self::Seipd1),
            Some(new) => {
                let text = format!(
                    "certificate {} (version 6) reads only the new message format, which the other recipients do not read",
                    new.fingerprint
                );
                let remedy = "encrypt to it alone, or to version 6 certificates only";
                Err(Error::new(Reason::UnusableCertificate, text).helps(remedy))
            }
        }
    }
}

/// Encrypts and armors the bytes that are written to it. The cipher is AES-256, the data one binary literal
/// without name and date (RFC 9580, section 5.9), compressed or not, and not signed.
pub struct Encryptor<'w, W: Write + Send + 'w>(Content<Body<'w, W>>);

impl<'w, W: Write + Send + 'w> Encryptor<'w, W> {
    /// Begins a message to `recipients`.
    ///
    /// # Errors
    ///
    /// Fails if the crypto library does, or if `out` cannot be written.
    pub fn new(
        recipients: &'w [RecipientKeys],
        container: Container,
        compress: bool,
        out: W,
    ) -> Result<Self> {
        let armor = ArmorWriter::new(out);
        let body = match container {
            Container::Seipd1 => Body::Seipd1(Box::new(Seipd1::new(recipients, armor).map_err(failed)?)),
            Container::Seipd2 => {
                let armor = Shared(Arc::new(Mutex::new(armor)));
                Body::Seipd2 { message: seipd2(recipients, armor.clone())?, armor }
            }
        };
        Ok(Self(Content::new(compress, body).map_err(Unwritable)?))
    }

    /// Ends the message. Returns `out`.
    ///
    /// # Errors
    ///
    /// The errors of [`Encryptor::new`].
    pub fn finish(self) -> Result<W> {
        let armor = match self.0.finish().map_err(Unwritable)? {
            Body::Seipd1(container) => container.finish().map_err(failed)?,
            Body::Seipd2 { message, armor } => {
                message.finalize().map_err(failed)?;
                armor.into_inner()?
            }
        };
        Ok(armor.finish()?)
    }
}

impl<W: Write + Send> Write for Encryptor<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A container that is open: the bytes that are written to it are encrypted.
enum Body<'w, W: Write + Send + 'w> {
    /// Composed here, which is three times as fast as in sequoia.
    Seipd1(Box<Seipd1<ArmorWriter<W>>>),
    /// Composed by sequoia, which is fast with this container.
    Seipd2 { message: Message<'w>, armor: Shared<ArmorWriter<W>> },
}

impl<W: Write + Send> Write for Body<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Seipd1(container) => container.write(data),
            Self::Seipd2 { message, .. } => message.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn seipd2<'w>(recipients: &'w [RecipientKeys], out: impl Write + Send + Sync + 'w) -> Result<Message<'w>> {
    let features = Features::empty().set_seipdv2();
    let keys = recipients.iter().flat_map(|r| &r.keys);
    let keys: Vec<_> = keys.map(|key| Recipient::new(features.clone(), key.key_handle(), key)).collect();
    let encryptor = stream::Encryptor::for_recipients(Message::new(out), keys)
        .symmetric_algo(SymmetricAlgorithm::AES256)
        .aead_algo(AEADAlgorithm::OCB);
    encryptor.build().map_err(failed)
}

/// Shares a writer with sequoia, which does not return the one it is given. The mutex is there because
/// sequoia requires `Sync`; no thread is started.
struct Shared<W>(Arc<Mutex<W>>);

impl<W> Clone for Shared<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W> Shared<W> {
    fn into_inner(self) -> Result<W> {
        let writer = Arc::into_inner(self.0);
        let writer =
            writer.ok_or_else(|| Error::new(Reason::Internal, "the crypto library keeps a writer"))?;
        Ok(writer.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<W: Write> Write for Shared<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
