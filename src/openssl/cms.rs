//! Enveloped data of CMS (RFC 5652, section 6), written while the plaintext comes.

use std::ffi::{c_int, c_long, c_uint};
use std::mem;
use std::ptr::{self, NonNull};

use openssl_sys as ssl;

use super::x509::X509;
use super::Errors;

/// The most plaintext that is encrypted before the ciphertext is taken out of OpenSSL, in bytes.
const STEP: usize = 16 << 10;

/// The type of a recipient whose key comes out of a key agreement.
const CMS_RECIPINFO_AGREE: c_int = 1;
const BIO_CTRL_PENDING: c_int = 10;

/// A recipient of a message.
enum RecipientInfo {}

extern "C" {
    fn BIO_new_CMS(out: *mut ssl::BIO, cms: *mut ssl::CMS_ContentInfo) -> *mut ssl::BIO;
    fn CMS_EnvelopedData_create(cipher: *const ssl::EVP_CIPHER) -> *mut ssl::CMS_ContentInfo;
    fn CMS_RecipientInfo_get0_pkey_ctx(recipient: *mut RecipientInfo) -> *mut ssl::EVP_PKEY_CTX;
    fn CMS_RecipientInfo_type(recipient: *mut RecipientInfo) -> c_int;
    fn CMS_add1_recipient_cert(
        cms: *mut ssl::CMS_ContentInfo,
        cert: *mut ssl::X509,
        flags: c_uint,
    ) -> *mut RecipientInfo;
    fn EVP_PKEY_CTX_set_ecdh_kdf_md(context: *mut ssl::EVP_PKEY_CTX, hash: *const ssl::EVP_MD) -> c_int;
}

/// A message that is being encrypted, in BER of indefinite length: AES-256-CBC, for each recipient RSA PKCS#1 v1.5, or ECDH
/// with SHA-256 and AES-256 key wrap.
pub struct EnvelopedData {
    // The chain comes first, so that it is freed first: it refers to the message.
    chain: Chain,
    /// The end of the chain, where the message comes out.
    end: *mut ssl::BIO,
    _message: Message,
    /// True if something of the message has been lost.
    failed: bool,
}

impl EnvelopedData {
    /// Begins a message.
    ///
    /// # Errors
    ///
    /// Fails if there are no recipients, or if OpenSSL does. The text says why.
    pub fn new(recipients: &[&X509]) -> Result<Self, String> {
        if recipients.is_empty() {
            return Err("no recipients".into());
        }
        let errors = Errors::begin();
        Self::open(recipients).ok_or_else(|| errors.last())
    }

    fn open(recipients: &[&X509]) -> Option<Self> {
        let message = Message::new()?;
        for cert in recipients {
            message.add(cert)?;
        }
        // SAFETY: there are no promises to keep. The result is a sink in memory, which is ours, or NULL.
        let memory = Chain(NonNull::new(unsafe { ssl::BIO_new(ssl::BIO_s_mem()) })?);
        let end = memory.0.as_ptr();
        // SAFETY: `end` is a sink, `message` has all of its recipients, and outlives the result.
        let chain = Chain(NonNull::new(unsafe { BIO_new_CMS(end, message.0.as_ptr()) })?);
        // It is a part of the chain from now on. When there is none, it is still ours.
        mem::forget(memory);
        Some(Self { chain, end, _message: message, failed: false })
    }

    /// Encrypts more of the message. Appends to `out` what has been written of it.
    ///
    /// # Errors
    ///
    /// Fails if OpenSSL does. All that is called afterwards fails then.
    pub fn write(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        self.unless_failed(|message| plaintext.chunks(STEP).try_for_each(|step| message.encrypt(step, out)))
    }

    /// Ends the message. Appends the rest of it to `out`.
    ///
    /// # Errors
    ///
    /// The errors of [`EnvelopedData::write`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), String> {
        self.unless_failed(|message| {
            // SAFETY: the chain is whole. This writes the last block and what stands behind it.
            let done =
                unsafe { ssl::BIO_ctrl(message.chain.0.as_ptr(), ssl::BIO_CTRL_FLUSH, 0, ptr::null_mut()) };
            (done == 1).then_some(())?;
            message.take(out)
        })
    }

    fn unless_failed(&mut self, run: impl FnOnce(&mut Self) -> Option<()>) -> Result<(), String> {
        if self.failed {
            return Err("a part of the message could not be encrypted".into());
        }
        let errors = Errors::begin();
        let done = run(self);
        self.failed = done.is_none();
        done.ok_or_else(|| errors.last())
    }

    fn encrypt(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let length = c_int::try_from(plaintext.len()).ok()?;
        // SAFETY: the chain is whole, and `plaintext` has `length` bytes.
        let written = unsafe { ssl::BIO_write(self.chain.0.as_ptr(), plaintext.as_ptr().cast(), length) };
        (written == length).then_some(())?;
        self.take(out)
    }

    /// Moves what has been written from the end of the chain to `out`.
    fn take(&mut self, out: &mut Vec<u8>) -> Option<()> {
        // SAFETY: `end` is a part of the chain.
        let waiting: c_long = unsafe { ssl::BIO_ctrl(self.end, BIO_CTRL_PENDING, 0, ptr::null_mut()) };
        let (length, size) = (c_int::try_from(waiting).ok()?, usize::try_from(waiting).ok()?);
        if length == 0 {
            return Some(()); // a block is not full yet
        }
        out.reserve(size);
        let room = out.spare_capacity_mut();
        // SAFETY: `end` is a part of the chain, and `room` has at least `length` bytes.
        let read = unsafe { ssl::BIO_read(self.end, room.as_mut_ptr().cast(), length) };
        (read == length).then_some(())?;
        // SAFETY: `size` bytes have been written behind the old length.
        unsafe { out.set_len(out.len() + size) };
        Some(())
    }
}

/// The description of a message: algorithms and recipients.
struct Message(NonNull<ssl::CMS_ContentInfo>);

impl Message {
    fn new() -> Option<Self> {
        // SAFETY: the cipher is a constant. The result is ours, or NULL.
        let message = unsafe { CMS_EnvelopedData_create(ssl::EVP_aes_256_cbc()) };
        NonNull::new(message).map(Self)
    }

    /// Adds a recipient, by issuer and serial number.
    fn add(&self, cert: &X509) -> Option<()> {
        // SAFETY: both are what they must be. The message keeps what it needs of the certificate, and owns the result.
        let recipient =
            unsafe { CMS_add1_recipient_cert(self.0.as_ptr(), cert.as_ptr(), ssl::CMS_KEY_PARAM) };
        let recipient = NonNull::new(recipient)?.as_ptr();
        // SAFETY: it is a recipient.
        if unsafe { CMS_RecipientInfo_type(recipient) } != CMS_RECIPINFO_AGREE {
            return Some(());
        }
        // SAFETY: it is a recipient, which owns the result.
        let context = NonNull::new(unsafe { CMS_RecipientInfo_get0_pkey_ctx(recipient) })?;
        // SAFETY: it is the context of a key agreement, and the hash is a constant. OpenSSL would take SHA-1.
        let done = unsafe { EVP_PKEY_CTX_set_ecdh_kdf_md(context.as_ptr(), ssl::EVP_sha256()) };
        (done == 1).then_some(())
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the message is ours, and nothing refers to it any more: the chain has been freed.
        unsafe { ssl::CMS_ContentInfo_free(self.0.as_ptr()) };
    }
}

/// What plaintext goes through, one after the other: cipher, octet strings, and memory.
struct Chain(NonNull<ssl::BIO>);

impl Drop for Chain {
    fn drop(&mut self) {
        // SAFETY: all of the chain is ours, and none of it is used any more.
        unsafe { ssl::BIO_free_all(self.0.as_ptr()) };
    }
}
