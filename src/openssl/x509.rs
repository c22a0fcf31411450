//! An X.509 certificate (RFC 5280), as OpenSSL reads it.

use std::ffi::{c_char, c_int, c_long, CStr};
use std::fmt;
use std::ptr::{self, NonNull};
use std::time::{Duration, SystemTime};

use openssl_sys as ssl;

use super::Errors;

/// The type of a name in subjectAltName (RFC 8398, section 3), in digits.
const SMTP_UTF8_MAILBOX: &CStr = c"1.3.6.1.5.5.7.8.9";
/// Longest name of a curve and longest identifier that is looked at, in bytes, with the NUL.
const LONGEST_NAME: usize = 80;

extern "C" {
    fn EVP_PKEY_get_group_name(
        key: *const ssl::EVP_PKEY,
        name: *mut c_char,
        size: usize,
        length: *mut usize,
    ) -> c_int;
    fn GENERAL_NAMES_free(names: *mut ssl::stack_st_GENERAL_NAME);
    fn GENERAL_NAME_get0_otherName(
        name: *const ssl::GENERAL_NAME,
        kind: *mut *mut ssl::ASN1_OBJECT,
        value: *mut *mut ssl::ASN1_TYPE,
    ) -> c_int;
    fn X509_get0_pubkey(cert: *const ssl::X509) -> *mut ssl::EVP_PKEY;
}

/// A certificate. No signature of it has been checked.
pub struct X509(NonNull<ssl::X509>);

// SAFETY: nothing here changes a certificate, and OpenSSL has a lock for what it remembers of one.
unsafe impl Send for X509 {}
// SAFETY: as above.
unsafe impl Sync for X509 {}

/// The kind of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA, and the size of the modulus in bits.
    Rsa(usize),
    /// Elliptic curve, and OpenSSL's name of the curve: `prime256v1`.
    Ec(String),
    /// Another one, or one that OpenSSL does not read.
    Other,
}

impl X509 {
    /// Longest certificate that is read, in bytes. OpenSSL takes half a second and more for a mebibyte of tiny names.
    pub const LONGEST: usize = 16 << 10;
    /// Most attributes in the name of the issuer. OpenSSL makes a copy of that name for each point of distribution that is told
    /// relative to it: two thousand copies of two thousand attributes take seconds, and hundreds of megabytes.
    pub const MOST_OF_ISSUER: c_int = 16;

    /// Reads a certificate in DER. Returns `None` if it is not one, too long, or of an issuer with too long a name, or if
    /// something follows it.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        if der.len() > Self::LONGEST {
            return None;
        }
        let _errors = Errors::begin();
        let length = c_long::try_from(der.len()).ok()?;
        let mut at = der.as_ptr();
        // SAFETY: `at` points to `length` bytes, and is moved within them.
        let cert = unsafe { ssl::d2i_X509(ptr::null_mut(), &mut at, length) };
        let cert = Self(NonNull::new(cert)?);
        // SAFETY: `cert` is a certificate. The name lives as long as it.
        let of_issuer = unsafe { ssl::X509_NAME_entry_count(ssl::X509_get_issuer_name(cert.as_ptr())) };
        (at == der.as_ptr_range().end && of_issuer <= Self::MOST_OF_ISSUER).then_some(cert)
    }

    /// Returns the certificate for OpenSSL's functions, which it outlives.
    pub(super) fn as_ptr(&self) -> *mut ssl::X509 {
        self.0.as_ptr()
    }

    /// Returns true if both have the same issuer and serial number, by which a message names its recipients.
    pub fn is_named_as(&self, other: &Self) -> bool {
        let _errors = Errors::begin();
        // SAFETY: both are certificates.
        unsafe { ssl::X509_issuer_and_serial_cmp(self.as_ptr(), other.as_ptr()) == 0 }
    }

    /// Returns true if an extension cannot be read, or is there twice.
    pub fn is_damaged(&self) -> bool {
        self.flags() & ssl::EXFLAG_INVALID != 0
    }

    /// Returns true if it is for signing other certificates.
    pub fn is_ca(&self) -> bool {
        self.flags() & ssl::EXFLAG_CA != 0
    }

    fn flags(&self) -> u32 {
        let _errors = Errors::begin();
        // SAFETY: `self` is a certificate.
        unsafe { ssl::X509_get_extension_flags(self.as_ptr()) }
    }

    /// Returns true if the key may encrypt the keys of messages (RFC 5280, section 4.2.1.3): by itself if it is an RSA key,
    /// by a key agreement if not.
    pub fn may_encipher(&self, key: &PublicKey) -> bool {
        let _errors = Errors::begin();
        // SAFETY: `self` is a certificate. All bits are set if there is no such extension.
        let usage = unsafe { ssl::X509_get_key_usage(self.as_ptr()) };
        let wanted = match key {
            PublicKey::Rsa(_) => ssl::X509v3_KU_KEY_ENCIPHERMENT,
            PublicKey::Ec(_) | PublicKey::Other => ssl::X509v3_KU_KEY_AGREEMENT,
        };
        usage & wanted != 0
    }

    /// Returns true if it may be used for mail (RFC 5280, section 4.2.1.12).
    pub fn is_for_mail(&self) -> bool {
        let _errors = Errors::begin();
        // SAFETY: `self` is a certificate. All bits are set if there is no such extension.
        let usage = unsafe { ssl::X509_get_extended_key_usage(self.as_ptr()) };
        usage & (ssl::XKU_SMIME | ssl::XKU_ANYEKU) != 0
    }

    /// Returns the public key.
    pub fn public_key(&self) -> PublicKey {
        let _errors = Errors::begin();
        // SAFETY: `self` is a certificate. The key lives as long as it, and may be NULL.
        let key = unsafe { X509_get0_pubkey(self.as_ptr()) };
        if key.is_null() {
            return PublicKey::Other;
        }
        // SAFETY: the key is not NULL.
        let (kind, bits) = unsafe { (ssl::EVP_PKEY_id(key), ssl::EVP_PKEY_bits(key)) };
        match kind {
            // SAFETY: the key is not NULL.
            ssl::EVP_PKEY_RSA if unsafe { encrypts(key) } => {
                PublicKey::Rsa(usize::try_from(bits).unwrap_or_default())
            }
            ssl::EVP_PKEY_EC => {
                let mut name = [0u8; LONGEST_NAME];
                let mut length = 0;
                // SAFETY: `name` has the size that is told, and its end is written to `length`.
                let is_named = unsafe {
                    EVP_PKEY_get_group_name(key, name.as_mut_ptr().cast(), name.len(), &mut length)
                };
                match name.get(..length) {
                    Some(name) if is_named == 1 => PublicKey::Ec(String::from_utf8_lossy(name).into_owned()),
                    _ => PublicKey::Other,
                }
            }
            _ => PublicKey::Other,
        }
    }

    /// Returns the first and the last moment at which it is valid. `None` if they cannot be read.
    pub fn validity(&self) -> Option<(SystemTime, SystemTime)> {
        let _errors = Errors::begin();
        // SAFETY: `self` is a certificate. Its times live as long as it.
        let times =
            unsafe { (ssl::X509_getm_notBefore(self.as_ptr()), ssl::X509_getm_notAfter(self.as_ptr())) };
        Some((time(times.0)?, time(times.1)?))
    }

    /// Returns up to `most` addresses: those in subjectAltName, or else those of the subject (RFC 8550, section 3).
    pub fn addresses(&self, most: usize) -> Vec<Vec<u8>> {
        let _errors = Errors::begin();
        let names = self.alternative_names(most);
        if names.is_empty() {
            self.subject_addresses(most)
        } else {
            names
        }
    }

    fn alternative_names(&self, most: usize) -> Vec<Vec<u8>> {
        // SAFETY: `self` is a certificate. The result is of this type for this extension; it is ours to free, or NULL.
        let names = unsafe {
            ssl::X509_get_ext_d2i(self.as_ptr(), ssl::NID_subject_alt_name, ptr::null_mut(), ptr::null_mut())
        };
        let Some(names) = NonNull::new(names.cast::<ssl::stack_st_GENERAL_NAME>()) else { return Vec::new() };
        let stack: *const ssl::OPENSSL_STACK = names.as_ptr().cast();
        // SAFETY: it is a stack.
        let count = unsafe { ssl::OPENSSL_sk_num(stack) };
        let addresses = (0..count).filter_map(|n| {
            // SAFETY: `n` is less than the number of names, which live as long as the stack.
            let name = unsafe { ssl::OPENSSL_sk_value(stack, n) }.cast::<ssl::GENERAL_NAME>();
            // SAFETY: as above.
            unsafe { address(name) }
        });
        let addresses = addresses.take(most).collect();
        // SAFETY: the stack is ours, and is not used any more.
        unsafe { GENERAL_NAMES_free(names.as_ptr()) };
        addresses
    }

    fn subject_addresses(&self, most: usize) -> Vec<Vec<u8>> {
        // SAFETY: `self` is a certificate. The name lives as long as it.
        let subject = unsafe { ssl::X509_get_subject_name(self.as_ptr()) };
        let mut addresses = Vec::new();
        let mut at = -1;
        while addresses.len() < most {
            // SAFETY: `subject` is a name. The search begins behind `at`.
            at = unsafe { ssl::X509_NAME_get_index_by_NID(subject, ssl::NID_pkcs9_emailAddress, at) };
            if at < 0 {
                break;
            }
            // SAFETY: there is an entry at `at`, which has a value; both live as long as the certificate.
            let value = unsafe { ssl::X509_NAME_ENTRY_get_data(ssl::X509_NAME_get_entry(subject, at)) };
            // SAFETY: as above.
            addresses.extend(unsafe { text(value) });
        }
        addresses
    }
}

impl fmt::Debug for X509 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("X509")
    }
}

impl Drop for X509 {
    fn drop(&mut self) {
        // SAFETY: the certificate is ours, and nobody has it any more.
        unsafe { ssl::X509_free(self.as_ptr()) };
    }
}

/// Returns the address in a name, if it is one.
///
/// # Safety
///
/// `name` must be a name of OpenSSL.
unsafe fn address(name: *const ssl::GENERAL_NAME) -> Option<Vec<u8>> {
    // SAFETY: the caller says that it is a name. What `d` is depends on `type_`.
    let (kind, value) = unsafe { ((*name).type_, (*name).d) };
    match kind {
        // SAFETY: it is a string, of this kind.
        ssl::GEN_EMAIL => unsafe { text(value.cast()) },
        ssl::GEN_OTHERNAME => {
            let (mut kind, mut value) = (ptr::null_mut(), ptr::null_mut());
            // SAFETY: both results point into the name, if the function returns 1.
            if unsafe { GENERAL_NAME_get0_otherName(name, &mut kind, &mut value) } != 1 {
                return None;
            }
            let mut digits = [0u8; LONGEST_NAME];
            // SAFETY: `digits` has the size that is told. What is written there ends in NUL.
            unsafe { ssl::OBJ_obj2txt(digits.as_mut_ptr().cast(), digits.len() as c_int, kind, 1) };
            let is_mailbox = CStr::from_bytes_until_nul(&digits).is_ok_and(|text| text == SMTP_UTF8_MAILBOX);
            // SAFETY: `value` is not NULL, since the function has returned 1.
            if !is_mailbox || unsafe { (*value).type_ } != ssl::V_ASN1_UTF8STRING {
                return None;
            }
            // SAFETY: it is a string, of this type.
            unsafe { text((*value).value.utf8string.cast()) }
        }
        _ => None,
    }
}

/// Returns true if the numbers of an RSA key are odd, and its exponent is not 1: with 0 or 1, OpenSSL writes what it should
/// encrypt as it is.
///
/// # Safety
///
/// `key` must be an RSA key of OpenSSL.
unsafe fn encrypts(key: *const ssl::EVP_PKEY) -> bool {
    [c"n", c"e"].iter().all(|name| {
        let mut number = ptr::null_mut();
        // SAFETY: the caller says that it is a key. The number is ours, if the function returns 1.
        if unsafe { ssl::EVP_PKEY_get_bn_param(key, name.as_ptr(), &mut number) } != 1 {
            return false;
        }
        // SAFETY: it is a number.
        let is_good = unsafe { ssl::BN_is_odd(number) == 1 && ssl::BN_num_bits(number) > 1 };
        // SAFETY: it is ours, and is not used any more.
        unsafe { ssl::BN_free(number) };
        is_good
    })
}

/// Copies a string.
///
/// # Safety
///
/// `string` must be one of OpenSSL's strings, or NULL.
unsafe fn text(string: *const ssl::ASN1_STRING) -> Option<Vec<u8>> {
    if string.is_null() {
        return None;
    }
    // SAFETY: the caller says that it is a string.
    let (data, length) = unsafe { (ssl::ASN1_STRING_get0_data(string), ssl::ASN1_STRING_length(string)) };
    let length = usize::try_from(length).ok().filter(|_| !data.is_null())?;
    // SAFETY: the string has `length` bytes.
    Some(unsafe { std::slice::from_raw_parts(data, length) }.to_vec())
}

/// Converts a time of OpenSSL.
fn time(time: *const ssl::ASN1_TIME) -> Option<SystemTime> {
    if time.is_null() {
        return None;
    }
    // SAFETY: NULL makes a new time, which is freed below.
    let epoch = unsafe { ssl::ASN1_TIME_set(ptr::null_mut(), 0) };
    let (mut days, mut seconds) = (0, 0);
    // SAFETY: `epoch` may not be NULL: the function would take the time of now then. `time` is a time.
    let is_read =
        !epoch.is_null() && unsafe { ssl::ASN1_TIME_diff(&mut days, &mut seconds, epoch, time) } == 1;
    // SAFETY: it is ours, or NULL.
    unsafe { ssl::ASN1_TIME_free(epoch) };
    let distance = i64::from(days) * 24 * 60 * 60 + i64::from(seconds);
    let since = Duration::from_secs(distance.unsigned_abs());
    let time = if distance < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(since)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(since)
    };
    time.filter(|_| is_read)
}
