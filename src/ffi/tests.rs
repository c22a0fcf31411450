//! The border with a host that is made of Rust, so that Miri can watch all that is unsafe here (`make miri`).
//! It cannot go into OpenSSL: what needs a certificate is left to the tests with Dovecot.

use std::cell::RefCell;
use std::ffi::{c_void, CStr};
use std::io::Read;
use std::ptr::{null, null_mut};

use super::outcome::{core_free, core_refuse, core_report, core_take};
use super::*;
use crate::encrypt::Outcome;
use crate::message::original::Original;

/// What the core has said, and what it was given.
#[derive(Default)]
struct Host {
    lines: RefCell<Vec<(perot_level, String)>>,
    mail: Vec<u8>,
    at: RefCell<usize>,
    /// What `read` returns once all of the mail has been read.
    end: isize,
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

/// Not an address: looking at one takes minutes in Miri.
const FINGERPRINT: &str = "0123456789ABCDEF0123456789ABCDEF01234567";
const NOTHING: perot_bytes = perot_bytes::NONE;

fn lend(text: &str) -> perot_bytes {
    perot_bytes::lend(text.as_bytes())
}

/// A report, copied out of a result.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    defer: bool,
    encrypted: bool,
    replaces: bool,
    line: Option<(perot_level, String)>,
    answer: String,
    fields: Vec<(String, String)>,
}

impl Report {
    /// # Safety
    ///
    /// `result` came from the core, and has not been freed.
    unsafe fn of(result: *mut perot_result) -> Self {
        // SAFETY: as promised by the caller; what the report points to lives as long as the result.
        unsafe {
            let report = &*core_report(result);
            let fields = match report.field_count {
                0 => &[],
                n => std::slice::from_raw_parts(report.fields, n),
            };
            let value = |field: &perot_field| match field.text.text() {
                Some(text) => text.to_owned(),
                None => field.number.to_string(),
            };
            Self {
                defer: report.defer,
                encrypted: report.encrypted,
                replaces: report.replaces,
                line: report.has_line.then(|| (report.level, string(report.line))),
                answer: report.answer.text().unwrap_or_default().to_owned(),
                fields: fields
                    .iter()
                    .map(|f| (CStr::from_ptr(f.name).to_str().unwrap().into(), value(f)))
                    .collect(),
            }
        }
    }

    fn field(&self, name: &str) -> &str {
        &self.fields.iter().find(|(n, _)| n == name).expect(name).1
    }

    fn said(&self) -> &str {
        self.line.as_ref().map_or("", |(_, line)| line)
    }
}

/// The report of a result that is then freed.
fn report(result: *mut perot_result) -> Report {
    // SAFETY: each result comes from the core, and is freed once.
    unsafe {
        let report = Report::of(result);
        core_free(result);
        report
    }
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

    fn inspect(&self) -> Report {
        let instance = self.instance(NOTHING, NOTHING);
        // SAFETY: all are valid for the call.
        report(unsafe { core_inspect(instance.0, &request(&[]), &self.input()) })
    }

    fn instance(&self, certs: perot_bytes, on_error: perot_bytes) -> Instance {
        self.open(&perot_settings { certs, on_error, ..NO_SETTINGS })
    }

    fn open(&self, settings: &perot_settings) -> Instance {
        let words = perot_words {
            setting_prefix: lend("set_"),
            temp_dir: lend("tmp"),
            cpu_limit: lend("cpu"),
            scripted: true,
        };
        let settings = perot_settings { words: &words, ..*settings };
        // SAFETY: both are valid for the call.
        Instance(unsafe { core_open(&settings, &self.log()) })
    }

    fn encrypt(&self, instance: *const perot_instance, request: &perot_request) -> Report {
        // SAFETY: all are valid for the call.
        report(unsafe { core_encrypt(instance, request, &self.input(), &self.log()) })
    }

    fn check(
        &self,
        instance: *const perot_instance,
        recipient: perot_bytes,
        only_certificates: bool,
        author: perot_author,
    ) -> Report {
        // SAFETY: all are valid for the call.
        report(unsafe { core_check(instance, &OWNER, recipient, only_certificates, author, &self.log()) })
    }
}

const NO_SETTINGS: perot_settings = perot_settings {
    words: null(),
    certs: NOTHING,
    cert: NOTHING,
    on_error: NOTHING,
    on_no_certificate: NOTHING,
    hide_subject: NOTHING,
    compress: NOTHING,
    subkeys: NOTHING,
    prefer: NOTHING,
    alias: NOTHING,
    deliveries: NOTHING,
    saved: NOTHING,
    user_email: NOTHING,
    unavailable: NOTHING,
};

/// Nobody: no name, no home, and a recipient that is not UTF-8.
const OWNER: perot_owner =
    perot_owner { user: NOTHING, recipient: perot_bytes { data: [0xff].as_ptr(), size: 1 }, home: NOTHING };

fn request(recipients: &[perot_bytes]) -> perot_request {
    perot_request {
        place: PEROT_PLACE_DELIVERY,
        form: PEROT_FORM_ACTION,
        try_only: false,
        force: true,
        hide_subject: false,
        smime: false,
        exemption: PEROT_EXEMPTION_NONE,
        foreign: false,
        by_script: false,
        owner: OWNER,
        recipients: if recipients.is_empty() { null() } else { recipients.as_ptr() },
        recipient_count: recipients.len(),
        only_certificates: false,
        also: null(),
        also_count: 0,
        temp_dir: lend("/tmp"),
        cpu_limit: 0,
        cpu_begin: 0,
        clear_copies: 0,
        clear_copies_text: NOTHING,
        obstacle: PEROT_OBSTACLE_NONE,
        obstacle_text: NOTHING,
    }
}

struct Instance(*mut perot_instance);

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: it came from `core_open`, and is given back once.
        unsafe { core_close(self.0) }
    }
}

#[test]
fn settings_and_instances() {
    let host = Host::new("Subject: x\n\nplain\n");
    let certs = "~/certs".to_owned();
    let (good, keeps) = (host.instance(lend(&certs), NOTHING), host.instance(lend(&certs), lend("keep")));
    drop(certs); // only borrowed for the call
    let version = format!("perot-encrypt {}, {}", env!("CARGO_PKG_VERSION"), library_in_words());
    assert_eq!(*host.lines.borrow(), vec![(PEROT_LEVEL_DEBUG, version); 2]);
    let wrong = host.instance(NOTHING, perot_bytes::lend(b"\xff\nx"));
    let line = host.lines.borrow().last().cloned().unwrap();
    assert!(
        line.0 == PEROT_LEVEL_ERROR && line.1.contains("set_on_error = \u{fffd}?x: not understood"),
        "{line:?}"
    );
    let nobody = [lend(FINGERPRINT)];
    let defers = |instance: *const perot_instance| host.encrypt(instance, &request(&nobody)).defer;
    assert_eq!([good.0, keeps.0, wrong.0, null_mut()].map(|s| defers(s)), [true, false, true, true]);
    drop(Instance(null_mut()));
}

#[test]
fn settings_that_cannot_be_had() {
    let host = Host::default();
    let settings =
        perot_settings { on_error: lend("keep"), unavailable: lend("no settings today"), ..NO_SETTINGS };
    // SAFETY: all are valid for the call, or NULL.
    let instances = unsafe { [core_open(&settings, &host.log()), core_open(null(), null())] }.map(Instance);
    assert!(host.lines.borrow().iter().any(|(_, line)| line == "no settings today"));
    for (instance, why) in instances.iter().zip(["no settings today", "got no pointer"]) {
        let report = host.encrypt(instance.0, &request(&[lend(FINGERPRINT)]));
        assert!(report.defer && report.said().contains(why), "{report:?}");
    }
}

/// Whether what is saved in a mailbox is encrypted.
fn saves(instance: &Instance, mailbox: &str, special_use: perot_bytes) -> bool {
    // SAFETY: all are valid for the call.
    unsafe { core_saves(instance.0, lend(mailbox), special_use) }
}

#[test]
fn where_mail_is_stored_encrypted() {
    let host = Host::new("Subject: x\n\nplain\n");
    let instance = host.open(&perot_settings { saved: lend("Sent \\Archive"), ..NO_SETTINGS });
    assert!(saves(&instance, "Sent", NOTHING) && saves(&instance, "Old", lend("\\Archive \\All")));
    assert!(!saves(&instance, "Old", NOTHING) && !saves(&host.open(&NO_SETTINGS), "Sent", lend("\\Sent")));
    // Everywhere, if that cannot be known.
    let unavailable = host.open(&perot_settings { unavailable: lend("gone"), ..NO_SETTINGS });
    let wrong = host.open(&perot_settings { saved: lend("\"Sent"), ..NO_SETTINGS });
    assert!([unavailable, wrong, Instance(null_mut())].iter().all(|instance| saves(instance, "x", NOTHING)));
}

#[test]
fn what_is_stored_without_being_encrypted() {
    let host = Host::new("Subject: x\n\nplain\n");
    let store = |deliveries: &str, request: perot_request| {
        let instance = host.open(&perot_settings { deliveries: lend(deliveries), ..NO_SETTINGS });
        let report = host.encrypt(instance.0, &perot_request { form: PEROT_FORM_STORE, ..request });
        (report.defer, report.line.map(|(level, line)| (level, line.split(": ").next().unwrap().to_owned())))
    };
    let said = |level, line: &str| Some((level, line.to_owned()));
    let deferred = said(PEROT_LEVEL_ERROR, "message not encrypted, deferred");
    let delivered = || request(&[]);
    assert_eq!(store("no", delivered()), (false, None));
    assert_eq!(
        store("warn", delivered()),
        (false, said(PEROT_LEVEL_ERROR, "message not encrypted, stored as it is"))
    );
    assert_eq!(store("refuse", delivered()), (true, deferred.clone()));
    assert_eq!(store("encrypt", delivered()), (true, deferred.clone()));
    assert_eq!(store("", delivered()), (true, deferred.clone()));
    assert_eq!(store("what", delivered()), (true, deferred.clone()));
    // What has not waited is not there.
    let wait = || perot_request { obstacle: PEROT_OBSTACLE_WAIT, obstacle_text: lend("full"), ..delivered() };
    for deliveries in ["no", "warn", "refuse", "encrypt"] {
        assert_eq!(store(deliveries, wait()), (true, deferred.clone()), "{deliveries}");
    }
    // Mail that is saved does not ask what is done with deliveries.
    let saved = || perot_request { place: PEROT_PLACE_MAILBOX, ..delivered() };
    assert_eq!(store("no", saved()), (true, said(PEROT_LEVEL_ERROR, "message not encrypted, not stored")));
    let draft = perot_request { exemption: PEROT_EXEMPTION_DRAFT, ..saved() };
    let foreign = perot_request { foreign: true, ..saved() };
    assert_eq!(store("", draft), (false, said(PEROT_LEVEL_INFO, "message left as it is")));
    assert_eq!(store("", foreign), (false, said(PEROT_LEVEL_INFO, "message left as it is")));
    // What is not understood is a failure.
    let wrong = perot_settings { deliveries: lend("what"), saved: lend("\"Sent"), ..NO_SETTINGS };
    for (request, setting) in [(delivered(), "perot_encrypt_deliveries"), (saved(), "perot_encrypt_saved")] {
        let request = perot_request { form: PEROT_FORM_STORE, ..request };
        let report = host.encrypt(host.open(&wrong).0, &request);
        assert!(report.defer && report.said().contains(setting), "{report:?}");
    }
}

#[test]
fn a_message_that_waits() {
    // SAFETY: the spool is used until it is closed, the buffer is as large as is said.
    unsafe {
        let spool = spool::core_spool_open(lend("/tmp"));
        assert_eq!(spool::core_spool_write(spool, lend("01234")), 0);
        assert_eq!(spool::core_spool_write(spool, NOTHING), 0);
        assert_eq!(spool::core_spool_write(spool, lend("56789")), 0);
        let mut buffer = [0; 7];
        for _ in 0..2 {
            let mut all: Vec<u8> = Vec::new();
            while let n @ 1.. = spool::core_spool_read(spool, buffer.as_mut_ptr(), buffer.len()) {
                all.extend(&buffer[..n as usize]);
            }
            assert_eq!(all, b"0123456789");
            assert_eq!(spool::core_spool_rewind(spool), 0);
        }
        spool::core_spool_close(spool);
        assert_ne!(spool::core_spool_write(null_mut(), lend("x")), 0);
        assert_eq!(spool::core_spool_read(null_mut(), buffer.as_mut_ptr(), 1), -1);
        assert_eq!(spool::core_spool_rewind(null_mut()), -1);
        spool::core_spool_close(null_mut());
    }
}

#[test]
fn a_mail_is_read_piece_by_piece() {
    let encrypted = "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\n\n--b\n\
        Content-Type: application/pgp-encrypted\n\nVersion: 1\n\n--b\nContent-Type: application/octet-stream\n\n\
        -----BEGIN PGP MESSAGE-----\n\nwV4DAAAAAAAAAAA=\n-----END PGP MESSAGE-----\n\n--b--\n";
    for mail in ["Subject: x\n\nplain\n", "", encrypted] {
        let report = Host::new(mail).inspect();
        assert!(!report.encrypted && !report.defer && report.line.is_none(), "{report:?}");
    }
    // A failure, and more than there was room for.
    for end in [-1, -2, isize::MIN, isize::MAX] {
        let host = Host { end, ..Host::new("Subject: x\n") };
        let report = host.inspect();
        assert!(
            report.defer && report.said().contains("the mail server cannot read it"),
            "{end}: {report:?}"
        );
    }
}

#[test]
fn a_mail_that_takes_too_long() {
    let host = Host::new("Subject: x\n\nplain\n");
    let instance = host.instance(NOTHING, NOTHING);
    let nobody = [lend(FINGERPRINT)];
    let slow = perot_request { cpu_limit: 1, ..request(&nobody) };
    // Miri has no getrusage(), and so no CPU time.
    if cfg!(miri) {
        return;
    }
    while cpu_milliseconds() < 3 {}
    let report = host.encrypt(instance.0, &slow);
    assert_eq!(report.field("reason"), "message_too_large", "{report:?}");
    assert!(report.said().contains("raise cpu, or lower"), "{report:?}");
}

#[test]
fn reader() {
    let host = Host::new("0123456789");
    let mut text = String::new();
    let (input, stuck) = (host.input(), perot_input { rewind: Some(no_rewind), ..host.input() });
    // A host without functions.
    let none = perot_input { context: host.context(), read: None, rewind: None };
    // SAFETY: the functions are those of the host, which lives.
    let [mut input, mut stuck, mut none] = unsafe { [&input, &stuck, &none].map(|i| HostInput::new(i)) };
    input.read_to_string(&mut text).unwrap();
    assert_eq!(text, "0123456789");
    input.rewind().unwrap();
    assert_eq!(*host.at.borrow(), 0);
    assert!(stuck.rewind().is_err());
    assert!(none.read(&mut [0]).is_err() && none.rewind().is_err());
}

#[test]
fn recipients_are_checked() {
    let host = Host::default();
    let instance = host.instance(lend("~/certs"), NOTHING);
    let (error, warning) = (PEROT_LEVEL_ERROR, PEROT_LEVEL_WARNING);
    let too_short = "DEADBEEFDEADBEEF";
    for (instance, recipient, only_certificates, uploads, compiles, text) in [
        (instance.0, NOTHING, false, error, error, "'': a recipient in the script is not one"),
        (instance.0, lend(too_short), false, error, error, "is a key ID"),
        (instance.0, lend(FINGERPRINT), false, error, warning, "Searched: ~/certs (the user has no home"),
        (instance.0, lend(FINGERPRINT), true, error, error, "in the script is not an armored certificate"),
        (instance.0, lend("-----BEGIN PGP X"), true, error, error, "it is armored, but not a certificate"),
        (null_mut(), lend(FINGERPRINT), false, error, error, "got no pointer"),
    ] {
        for (author, level) in [(PEROT_AUTHOR_UPLOADS, uploads), (PEROT_AUTHOR_COMPILES, compiles)] {
            let report = host.check(instance, recipient, only_certificates, author);
            let (at, line) = report.line.expect("an explanation");
            assert!(at == level && line.contains(text), "{at} {line}");
        }
        assert_eq!(host.check(instance, recipient, only_certificates, PEROT_AUTHOR_AWAY).line, None);
    }
}

#[test]
fn each_failure_has_its_reason() {
    let host = Host::new("Subject: x\n\nplain\n");
    let (good, wrong) = (host.instance(lend("~/certs"), NOTHING), host.instance(lend("x"), NOTHING));
    let (fingerprint, panic) = (lend(FINGERPRINT), lend("panic@test.invalid"));
    let panics = if cfg!(feature = "inject-panic") { "internal" } else { "no_certificate" };
    let one = [fingerprint];
    let found = |obstacle| perot_request { obstacle, ..request(&one) };
    let lost = perot_request { recipient_count: 3, ..request(&[]) };
    let (also, lost_also) = ([fingerprint; 32], perot_request { also_count: 1, ..request(&one) });
    let too_many = perot_request { also: also.as_ptr(), also_count: also.len(), ..request(&one) };
    for (instance, request, reason) in [
        (good.0, request(&[]), "no_certificate"),
        (good.0, request(&[fingerprint, panic]), panics),
        (good.0, request(&[fingerprint; 33]), "bad_recipient"),
        (good.0, request(&[NOTHING]), "bad_recipient"),
        (good.0, too_many, "bad_recipient"),
        (good.0, lost, "internal"),
        (good.0, lost_also, "internal"),
        (wrong.0, request(&one), "bad_setting"),
        (null_mut(), request(&one), "internal"),
        (good.0, found(PEROT_OBSTACLE_MESSAGE), "unreadable_message"),
        (good.0, found(PEROT_OBSTACLE_LOOP), "bad_script"),
        (good.0, found(PEROT_OBSTACLE_SCRIPT), "internal"),
        (good.0, found(PEROT_OBSTACLE_STORE), "write_failed"),
        (good.0, found(PEROT_OBSTACLE_UNSTORED), "write_failed"),
        (good.0, perot_request { foreign: true, ..request(&[]) }, "bad_recipient"),
        (good.0, perot_request { foreign: true, ..request(&one) }, "no_certificate"),
        (good.0, perot_request { only_certificates: true, ..request(&one) }, "bad_recipient"),
    ] {
        let report = host.encrypt(instance, &request);
        assert!(report.defer && !report.encrypted && !report.replaces, "{report:?}");
        assert_eq!(report.field("outcome"), "failed");
        assert_eq!(report.field("reason"), reason, "{report:?}");
        assert!(report.answer.contains(reason), "{report:?}");
        // Only what the script or the administrator has asked for goes on.
        let tried = host.encrypt(instance, &perot_request { try_only: true, ..request });
        let unknown = instance.is_null()
            || [PEROT_OBSTACLE_SCRIPT, PEROT_OBSTACLE_UNSTORED].contains(&request.obstacle);
        assert_eq!(tried.defer, unknown, "{reason}");
    }
}

#[test]
fn a_message_that_is_gone() {
    let host = Host::new("Subject: x\n\nplain\n");
    let instance = host.instance(lend("~/certs"), NOTHING);
    let gone = perot_request { obstacle: PEROT_OBSTACLE_EXPUNGED, ..request(&[]) };
    // SAFETY: all are valid for the call.
    let inspected = unsafe { report(core_inspect(instance.0, &gone, &host.input())) };
    for report in [host.encrypt(instance.0, &gone), inspected] {
        assert!(!report.defer && !report.encrypted, "{report:?}");
        assert_eq!(report.line.unwrap().0, PEROT_LEVEL_INFO);
    }
}

#[test]
fn null_is_a_failure() {
    let host = Host::new("Subject: x\n\nplain\n");
    let instance = host.instance(lend("~/certs"), NOTHING);
    // SAFETY: NULL is what this is about; what is not NULL is valid for the call.
    unsafe {
        for result in [
            core_encrypt(null(), null(), null(), null()),
            core_encrypt(instance.0, null(), &host.input(), &host.log()),
            core_encrypt(instance.0, &request(&[]), null(), null()),
            core_inspect(null(), null(), null()),
            core_inspect(instance.0, &request(&[]), null()),
        ] {
            let report = report(result);
            assert!(report.defer && report.said().contains("got no pointer"), "{report:?}");
        }
        assert!((*core_report(null_mut())).defer);
        let mut bytes = NOTHING;
        assert_eq!(core_take(null_mut(), &mut bytes), -1);
        core_refuse(null_mut(), NOTHING);
        core_free(null_mut());
    }
}

#[test]
fn what_is_exempt_is_left_alone() {
    let host = Host::new("Subject: x\n\nplain\n");
    let instance = host.instance(lend("~/certs"), NOTHING);
    for (exemption, said) in [
        (PEROT_EXEMPTION_DRAFT, "it is a draft"),
        (PEROT_EXEMPTION_UNSENT, "its mailbox is for what is still to be written or sent"),
        (PEROT_EXEMPTION_NO_MAIL, "it is no mail"),
    ] {
        let report = host.encrypt(instance.0, &perot_request { exemption, ..request(&[]) });
        assert!(!report.defer && !report.encrypted, "{report:?}");
        assert!(report.said().contains(said), "{report:?}");
        assert_eq!(report.fields[0], ("outcome".to_owned(), "draft".to_owned()));
    }
}

fn encrypted(ciphertext: Waiting) -> *mut perot_result {
    let outcome = Outcome::Encrypted { recipients: vec!["AB".into()], bytes_in: 1, bytes_out: 3 };
    let terms = terms(&request(&[]), OnError::TempFail);
    CallResult::from_encryption(Ok((outcome, ciphertext)), terms, Duration::ZERO, &Words::default())
}

#[test]
fn ciphertext_is_taken() {
    let result = encrypted(Waiting::Memory(b"abc".to_vec()));
    let mut bytes = NOTHING;
    // SAFETY: the result is the core's, and is freed once; the bytes live as long as it.
    unsafe {
        let report = Report::of(result);
        assert!(report.replaces && report.encrypted && !report.defer, "{report:?}");
        assert_eq!((report.field("bytes_out"), report.field("recipients")), ("3", "AB"));
        let same = core_report(result);
        assert_eq!(core_take(result, &mut bytes), -1);
        assert_eq!(string(bytes), "abc");
        // The host goes on reading the report that it has, and may ask for it once more.
        assert!((*core_report(result)).replaces && (*same).replaces);
        assert_eq!(string((*same).line), report.said());
        core_free(result);
    }
}

#[test]
fn ciphertext_that_is_refused_is_a_failure() {
    let result = encrypted(Waiting::Memory(b"abc".to_vec()));
    // SAFETY: the result is the core's, and is freed once.
    unsafe {
        assert!(Report::of(result).replaces);
        core_refuse(result, lend("no room\n"));
        let report = Report::of(result);
        assert!(report.defer && !report.encrypted && !report.replaces, "{report:?}");
        assert_eq!(report.said(), "message not encrypted, deferred: no room?");
        assert_eq!(report.field("reason"), "write_failed");
        let mut bytes = NOTHING;
        assert!(core_take(result, &mut bytes) == -1 && bytes.data.is_null());
        core_free(result);
    }
}
