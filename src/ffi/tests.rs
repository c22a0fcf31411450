//! The border with a host that is made of Rust, so that Miri can watch all that is unsafe here (`make miri`).
//! It cannot go into OpenSSL: what needs a certificate is left to the tests with Dovecot.

use std::cell::RefCell;
use std::ffi::c_void;
use std::io::{Read, Write};
use std::ptr::null;

use super::*;
use crate::message::Source;

/// What the core has said, and what it was given.
#[derive(Default)]
struct Host {
    lines: RefCell<Vec<(perot_level, String)>>,
    reports: RefCell<Vec<(perot_outcome, String, String)>>,
    findings: RefCell<Vec<String>>,
    mail: Vec<u8>,
    at: RefCell<usize>,
    /// What `read` returns once all of the mail has been read.
    end: isize,
    written: RefCell<Vec<u8>>,
    errno: i32,
}

/// # Safety
///
/// `context` is a [`Host`] that lives.
unsafe fn host<'a>(context: *mut c_void) -> &'a Host {
    // SAFETY: as promised by the caller.
    unsafe { &*context.cast() }
}

/// # Safety
///
/// The bytes are valid.
unsafe fn string(bytes: perot_bytes) -> String {
    // SAFETY: as promised by the caller.
    unsafe { bytes.text() }.expect("UTF-8").to_owned()
}

unsafe extern "C" fn write_line(context: *mut c_void, level: perot_level, line: perot_bytes) {
    // SAFETY: the core hands back what it was given, and lends the line.
    unsafe { host(context).lines.borrow_mut().push((level, string(line))) }
}

/// Three bytes at a time, as if they came from a network.
unsafe extern "C" fn read(context: *mut c_void, buffer: *mut u8, size: usize) -> isize {
    // SAFETY: the core hands back what it was given, and has room for `size` bytes.
    let (host, buffer) = unsafe { (host(context), std::slice::from_raw_parts_mut(buffer, size)) };
    let mut at = host.at.borrow_mut();
    let n = size.min(3).min(host.mail.len() - *at);
    buffer[..n].copy_from_slice(&host.mail[*at..*at + n]);
    *at += n;
    if n > 0 {
        n as isize
    } else {
        host.end
    }
}

unsafe extern "C" fn rewind(context: *mut c_void) -> i32 {
    // SAFETY: the core hands back what it was given.
    *unsafe { host(context) }.at.borrow_mut() = 0;
    0
}

unsafe extern "C" fn no_rewind(_: *mut c_void) -> i32 {
    -1
}

unsafe extern "C" fn write(context: *mut c_void, bytes: perot_bytes) -> i32 {
    // SAFETY: the core hands back what it was given, and lends the bytes.
    let (host, bytes) = unsafe { (host(context), bytes.get()) };
    host.written.borrow_mut().extend(bytes.expect("not NULL"));
    host.errno
}

unsafe extern "C" fn done(context: *mut c_void, report: *const perot_report) {
    // SAFETY: the core hands back what it was given, and lends the report.
    unsafe {
        let report = &*report;
        assert!(report.recipients.get().is_some());
        let row = (report.outcome, string(report.reason), string(report.text));
        host(context).reports.borrow_mut().push(row);
    }
}

unsafe extern "C" fn explain(context: *mut c_void, text: perot_bytes) {
    // SAFETY: the core hands back what it was given, and lends the text.
    unsafe { host(context).findings.borrow_mut().push(string(text)) }
}

/// Not an address: looking at one takes minutes in Miri.
const FINGERPRINT: &str = "0123456789ABCDEF0123456789ABCDEF01234567";
const NOTHING: perot_bytes = perot_bytes { data: null(), size: 0 };

fn lend(text: &str) -> perot_bytes {
    perot_bytes::lend(text.as_bytes())
}

impl Host {
    fn new(mail: &str) -> Self {
        Self { mail: mail.as_bytes().to_vec(), ..Self::default() }
    }

    fn context(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn log(&self) -> perot_log {
        perot_log { context: self.context(), write: Some(write_line) }
    }

    fn input(&self) -> perot_input {
        perot_input { context: self.context(), read: Some(read), rewind: Some(rewind) }
    }

    fn output(&self) -> perot_output {
        perot_output { context: self.context(), write: Some(write) }
    }

    fn is_encrypted(&self) -> i32 {
        // SAFETY: both are valid for the call.
        unsafe { core_is_encrypted(&self.input(), &self.log()) }
    }

    fn instance(&self, certs: perot_bytes, on_error: perot_bytes) -> Instance {
        let settings =
            perot_settings { certs, cert: NOTHING, on_error, hide_subject: NOTHING, unavailable: NOTHING };
        // SAFETY: both are valid for the call.
        Instance(unsafe { core_open(&settings, &self.log()) })
    }

    fn encrypt(&self, instance: *const perot_instance, recipients: &[perot_bytes]) -> perot_outcome {
        let request = perot_request {
            owner: OWNER,
            recipients: if recipients.is_empty() { null() } else { recipients.as_ptr() },
            recipient_count: recipients.len(),
            force: true,
            hide_subject: false,
        };
        let sink = perot_report_sink { context: self.context(), done: Some(done) };
        // SAFETY: all are valid for the call.
        unsafe { core_encrypt(instance, &request, &self.input(), &self.output(), &self.log(), &sink) }
    }

    fn check(&self, instance: *const perot_instance, recipient: perot_bytes) -> perot_finding {
        let sink = perot_finding_sink { context: self.context(), explain: Some(explain) };
        // SAFETY: all are valid for the call.
        unsafe { core_check(instance, &OWNER, recipient, &self.log(), &sink) }
    }
}

/// Nobody: no name, no home, and a recipient that is not UTF-8.
const OWNER: perot_owner =
    perot_owner { user: NOTHING, recipient: perot_bytes { data: [0xff].as_ptr(), size: 1 }, home: NOTHING };

struct Instance(*mut perot_instance);

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: it came from `core_open`, and is given back once.
        unsafe { core_close(self.0) }
    }
}

fn keeps_on_error(instance: *const perot_instance) -> bool {
    // SAFETY: an instance, or NULL.
    unsafe { core_keep_on_error(instance) }
}

#[test]
fn settings_and_instances() {
    let host = Host::default();
    let certs = "~/certs".to_owned();
    let (good, keeps) = (host.instance(lend(&certs), NOTHING), host.instance(NOTHING, lend("keep")));
    drop(certs); // only borrowed for the call
    assert!(host.lines.borrow().is_empty(), "{:?}", host.lines.borrow());
    let wrong = host.instance(NOTHING, perot_bytes::lend(b"\xff\nx"));
    let line = host.lines.borrow()[0].clone();
    assert!(
        line.0 == PEROT_LEVEL_ERROR && line.1.contains("on_error = \u{fffd}?x: not understood"),
        "{line:?}"
    );
    let settings = [good.0, keeps.0, wrong.0, std::ptr::null_mut()];
    assert_eq!(settings.map(|s| keeps_on_error(s)), [false, true, false, false]);
    drop(Instance(std::ptr::null_mut()));
}

#[test]
fn a_mail_is_read_piece_by_piece() {
    let encrypted = "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\n\n--b\n\
        Content-Type: application/pgp-encrypted\n\nVersion: 1\n\n--b\nContent-Type: application/octet-stream\n\n\
        -----BEGIN PGP MESSAGE-----\n\nwV4DAAAAAAAAAAA=\n-----END PGP MESSAGE-----\n\n--b--\n";
    assert_eq!(Host::new("Subject: x\n\nplain\n").is_encrypted(), 0);
    assert_eq!(Host::new("").is_encrypted(), 0);
    assert_eq!(Host::new(encrypted).is_encrypted(), 0, "no ciphertext behind the session key");
    for (end, why) in [
        (-1, "the mail server cannot read it"),
        (PEROT_READ_TOO_SLOW as isize, "the message takes more CPU time than a script may take"),
        (isize::MIN, "the mail server cannot read it"),
        // More than there was room for.
        (isize::MAX, "the mail server cannot read it"),
    ] {
        let host = Host { end, ..Host::new("Subject: x\n") };
        assert_eq!(host.is_encrypted(), -1);
        assert!(host.lines.borrow()[0].1.contains(why), "{end}: {:?}", host.lines.borrow());
    }
}

#[test]
fn reader_and_writer() {
    let host = Host { errno: 28, ..Host::new("0123456789") };
    let mut text = String::new();
    HostInput(&host.input()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "0123456789");
    HostInput(&host.input()).rewind().unwrap();
    assert_eq!(*host.at.borrow(), 0);
    let stuck = perot_input { rewind: Some(no_rewind), ..host.input() };
    assert!(HostInput(&stuck).rewind().is_err());
    let error = HostOutput(&host.output()).write(b"abc").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(28));
    let host = Host::default();
    HostOutput(&host.output()).write_all(b"").unwrap();
    std::io::copy(&mut &b"abc"[..], &mut HostOutput(&host.output())).unwrap();
    HostOutput(&host.output()).flush().unwrap();
    assert_eq!(*host.written.borrow(), b"abc");
    // A host without functions.
    let (input, output) = (
        perot_input { context: host.context(), read: None, rewind: None },
        perot_output { context: host.context(), write: None },
    );
    assert!(HostInput(&input).read(&mut [0]).is_err() && HostInput(&input).rewind().is_err());
    assert!(HostOutput(&output).write(b"x").is_err());
}

#[test]
fn recipients_are_checked() {
    let host = Host::default();
    let instance = host.instance(lend("~/certs"), NOTHING);
    let too_short = "DEADBEEFDEADBEEF";
    for (instance, recipient, code, text) in [
        (instance.0, NOTHING, PEROT_RECIPIENT_WRONG, "'': a recipient in the script is not one"),
        (instance.0, lend(too_short), PEROT_RECIPIENT_WRONG, "is a key ID"),
        (instance.0, lend(FINGERPRINT), PEROT_RECIPIENT_NOT_FOUND, "Searched: ~/certs (the user has no home"),
        (std::ptr::null_mut(), lend(FINGERPRINT), PEROT_RECIPIENT_NOT_FOUND, "there are no settings"),
    ] {
        assert_eq!(host.check(instance, recipient), code, "{text}");
        let said = host.findings.borrow_mut().pop().expect("an explanation");
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn each_failure_is_reported_once() {
    let host = Host::new("Subject: x\n\nplain\n");
    let (good, wrong) = (host.instance(lend("~/certs"), NOTHING), host.instance(lend("x"), NOTHING));
    let (fingerprint, panic) = (lend(FINGERPRINT), lend("panic@test.invalid"));
    let panics = if cfg!(feature = "inject-panic") { "internal" } else { "no_certificate" };
    for (instance, recipients, reason) in [
        (good.0, &[][..], "no_certificate"),
        (good.0, &[fingerprint, panic][..], panics),
        (good.0, &[fingerprint; 33][..], "bad_recipient"),
        (good.0, &[NOTHING][..], "bad_recipient"),
        (wrong.0, &[fingerprint][..], "bad_setting"),
        (std::ptr::null_mut(), &[fingerprint][..], "internal"),
    ] {
        assert_eq!(host.encrypt(instance, recipients), PEROT_FAILED, "{reason}");
        let reports = host.reports.take();
        assert!(reports.len() == 1 && reports[0].0 == PEROT_FAILED, "{reports:?}");
        assert_eq!(reports[0].1, reason, "{reports:?}");
    }
    assert!(host.written.borrow().is_empty());
}
