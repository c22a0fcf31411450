//! The properties that hold for every input. Fuzzing (fuzz/) and the property tests
//! (tests/library/properties.rs) check them.

use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::sync::LazyLock;
use std::time::SystemTime;

use perot_encrypt::certs::advice::{self, Finding};
use perot_encrypt::certs::choose::{choose, RecipientKeys};
use perot_encrypt::certs::chosen::Chosen;
use perot_encrypt::certs::copies::{grouped, Certificate, Copies};
use perot_encrypt::certs::file::{Contents, Limit};
use perot_encrypt::certs::finder::{display, Finder, Owner};
use perot_encrypt::certs::raw::{self, RawCert};
use perot_encrypt::certs::rules::Sha1;
use perot_encrypt::certs::text::has_wrong_checksum;
use perot_encrypt::certs::x509;
use perot_encrypt::deadline::Deadline;
use perot_encrypt::encrypt::{encrypt, Job, Outcome};
use perot_encrypt::envelope::{Addressee, Envelope, Seal};
use perot_encrypt::error::{Error, Reason, Words};
use perot_encrypt::log::{Level, Log};
use perot_encrypt::message::inspect::{inspect, Inspection};
use perot_encrypt::message::lines::Lines;
use perot_encrypt::message::missing_fields::missing_fields;
use perot_encrypt::message::original::Original;
use perot_encrypt::message::{hide_subject, wrap};
use perot_encrypt::openpgp::pgp_mime::PgpMime;
use perot_encrypt::openssl::cms::EnvelopedData;
use perot_encrypt::openssl::x509::{PublicKey, X509};
use perot_encrypt::recipient::Recipient;
use perot_encrypt::settings::{Deliveries, Loaded, OnError, RawSettings, Settings, SourcePath, Subkeys};
use perot_encrypt::sink::Sink;

use sequoia_openpgp as openpgp;

use openpgp::armor;
use openpgp::Cert;

use super::ciphertext::{boundaries_at_line_starts, is_all_ciphertext};
use super::reference::Reference;
use super::{armored, decrypt, find, key_for, settings, version6};

/// Keys of version 4 and 6, each with its certificate.
static KEYS: LazyLock<[(Cert, Vec<u8>); 2]> =
    LazyLock::new(|| [key_for("me@t.org"), version6("six@t.org")].map(with_certificate));

fn with_certificate(key: Cert) -> (Cert, Vec<u8>) {
    let armored = armored(&key);
    (key, armored)
}

// A message as it may arrive --------------------------------------------------------------------------

/// A message that arrives in pieces of any size, and may break off with an error.
pub struct Delivered<'a> {
    message: &'a [u8],
    rest: &'a [u8],
    /// The size of the largest piece, and the state of the generator that chooses the sizes.
    most: usize,
    random: u64,
    /// The number of reads that succeed.
    reads: usize,
    failed: bool,
}

impl<'a> Delivered<'a> {
    /// `cut` chooses the sizes: 0 gives a single piece, 17 gives single bytes (of a small message), the
    /// others something in between.
    pub fn new(message: &'a [u8], cut: u8) -> Self {
        Self {
            message,
            rest: message,
            // Each piece is searched for lines anew, so many small pieces of a large message would take long.
            most: (1 << (cut % 17)).max(message.len() >> 10),
            random: cut.into(),
            reads: usize::MAX,
            failed: false,
        }
    }

    fn piece(&mut self) -> usize {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        1 + self.random as usize % self.most
    }
}

impl Read for Delivered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.failed = self.reads == 0;
        if self.failed {
            return Err(io::Error::other("as it was meant to"));
        }
        self.reads -= 1;
        let most = if self.random == 0 { buffer.len() } else { self.piece().min(buffer.len()) };
        self.rest.read(&mut buffer[..most])
    }
}

impl Original for Delivered<'_> {
    fn rewind(&mut self) -> io::Result<()> {
        self.rest = self.message;
        Ok(())
    }
}

/// Makes long lines from short input: a SUB and the byte after it become about 64 KiB, the length from which
/// on lines come in pieces.
pub fn stretched(message: &[u8]) -> Vec<u8> {
    const MOST: usize = 2;
    let mut parts = message.splitn(MOST + 1, |&b| b == 0x1a);
    let mut long = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let more = part.first().map_or(0, |&n| usize::from(n));
        long.resize(long.len() + (64 << 10) - 128 + more, b'x');
        long.extend_from_slice(part.get(1..).unwrap_or_default());
    }
    long
}

/// Checks log lines and errors: they are short, and nothing in them can forge a log line.
struct Harmless;

impl Log for Harmless {
    fn log(&self, _: Level, line: &str) {
        assert!(!line.contains(char::is_control) && line.len() < 64 << 10, "{line:?}");
    }
}

fn harmless(text: impl ToString) {
    Harmless.log(Level::Error, &text.to_string());
}

// Header ----------------------------------------------------------------------------------------------

/// Checks reading and writing of headers: the outer header, and both kinds of payload.
pub fn header(message: &[u8], cut: u8) {
    lines(message, cut);
    let reference = Reference::new(message);
    let inspection = inspect(&mut Cursor::new(message)).unwrap();
    assert_eq!(inspection.has_content_type, reference.has("content-type"));
    assert_eq!(inspection.has_transfer_encoding, reference.has("content-transfer-encoding"));
    assert_eq!(inspection.has_cr_lines, reference.has_cr_lines());
    for hide_subject in [false, true] {
        let mut source = Delivered::new(message, cut);
        let mut outer = Vec::new();
        wrap::write_header(&mut source, &Fixed, hide_subject, &mut outer).unwrap();
        let rest = outer.strip_prefix(reference.outer_header(hide_subject).as_slice());
        let own = std::str::from_utf8(rest.expect("the fields of the original")).unwrap();
        assert!(own.starts_with(AGENT) && own.ends_with(OWN_FIELDS) && own.len() < 300, "{own}");
    }
    let mut source = Delivered::new(message, cut);
    let missing = missing_fields(&mut source, &inspection).unwrap();
    let mut payload = Vec::new();
    let size = wrap::write_payload(&mut source, &missing, &mut payload).unwrap();
    assert!((size, &payload) == (message.len() as u64, &reference.payload()));
    payload.clear();
    let size =
        hide_subject::write_payload(&mut source, &inspection, &missing, "BOUNDARY", &mut payload).unwrap();
    assert!((size, &payload) == (message.len() as u64, &reference.payload_with_subject("BOUNDARY")));
}

const AGENT: &str = "Encrypted-On-Delivery: pgp-mime; agent=\"vnd.perot.encrypt/";
const OWN_FIELDS: &str = "\";\r\n to=FINGERPRINT\r\nContent-Type: x\r\n\r\n";

/// An envelope of constant fields that does not encrypt.
struct Fixed;

impl Envelope for Fixed {
    type Seal<'w, W: Write + Send + 'w> = Open<W>;

    fn format(&self) -> &'static str {
        "pgp-mime"
    }

    fn addressees(&self) -> Vec<Addressee<'_>> {
        vec![Addressee { fingerprint: "FINGERPRINT", expired: false }]
    }

    fn content_fields(&self) -> String {
        "Content-Type: x\r\n".into()
    }

    fn open<'w, W: Write + Send + 'w>(&'w self, out: W) -> Result<Open<W>, Error> {
        Ok(Open(out))
    }
}

struct Open<W>(W);

impl<W: Write> Write for Open<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Seal<W> for Open<W> {
    fn finish(self) -> Result<W, Error> {
        Ok(self.0)
    }
}

/// Checks that lines do not depend on the cut: a line of up to 64 KiB is one piece, and so is a line end.
fn lines(message: &[u8], cut: u8) {
    let mut lines = Lines::new(Delivered::new(message, cut));
    let mut expected = message.split_inclusive(|&b| b == b'\n');
    let mut line: &[u8] = b"";
    while let Some(piece) = lines.next_piece().unwrap() {
        assert_eq!(piece.begins, line.is_empty());
        if piece.begins {
            line = expected.next().unwrap();
            assert!(piece.bytes.len() == line.len() || piece.bytes.len() >= (64 << 10) - 1);
        }
        line = line.strip_prefix(piece.bytes).expect("the bytes of the line");
        assert!(line != b"\n" || !piece.bytes.ends_with(b"\r"), "half a line end");
    }
    assert!(line.is_empty() && expected.next().is_none());
    assert_eq!(lines.position(), message.len() as u64);
}

// Inspection ------------------------------------------------------------------------------------------

/// Checks the inspection: its answer does not depend on the cut, and readable text never counts as encrypted.
pub fn inspection(message: &[u8], cut: u8) -> Inspection {
    let inspection = inspect(&mut Cursor::new(message)).unwrap();
    assert_eq!(inspect(&mut Delivered::new(message, cut)).unwrap(), inspection);
    if inspection.encrypted {
        is_all_ciphertext(message)
            .or_else(|_| {
                let repaired = boundaries_at_line_starts(message);
                repaired.map_or(Ok(()), |repaired| is_all_ciphertext(&repaired))
            })
            .expect("all of it is ciphertext");
    }
    inspection
}

// Certificates ----------------------------------------------------------------------------------------

/// Checks hostile certificate files: they are read or refused, and yield no more than they have.
pub fn certificates(data: &[u8]) {
    let contents = contents(data);
    contents.problems.iter().for_each(harmless);
    assert!(!contents.certs.is_empty() || !contents.revocations.is_empty() || !contents.problems.is_empty());
    for copies in grouped(contents.certs.clone(), &contents.revocations) {
        certificate(&copies);
    }
    if data.first().is_some_and(|b| b & 0x80 != 0) && find(data, b"-----BEGIN PGP ").is_none() {
        same_in_armor(data, &contents.certs);
    }
    let certs = contents.certs;
    by_setting_and_in_script(data, &certs);
    in_a_folder(data, &certs);
}

fn contents(data: &[u8]) -> Contents {
    let mut limit = Limit::new(usize::MAX, &Deadline::NONE);
    Contents::read(&mut Cursor::new(data), &mut limit).expect("memory can be read")
}

fn certificate(copies: &Copies) {
    assert!(copies.certs.iter().all(|raw| raw.bytes().len() <= raw::MAX_BYTES));
    let cert = match copies.parse() {
        Ok(Certificate::OpenPgp(cert)) => cert,
        Ok(Certificate::X509(cert)) => {
            let _ = x509::choose(&cert, &copies.fingerprint, SystemTime::now()).map_err(harmless);
            return;
        }
        Err(why) => return harmless(why),
    };
    assert_eq!(cert.fingerprint().to_hex(), copies.fingerprint);
    assert!(!cert.is_tsk() && cert.keys().count() <= 129 && cert.userids().count() <= 256);
    match choose(&cert, SystemTime::now(), Sha1::Accepted, Subkeys::All) {
        Ok(keys) => usable(&[keys]),
        Err(why) => harmless(why),
    }
}

/// Checks that a message can be encrypted to these keys, or that there is a reason why not.
fn usable(recipients: &[RecipientKeys]) {
    assert!(!recipients.is_empty() && recipients.iter().all(|r| !r.keys.is_empty() && r.keys.len() <= 128));
    let written = PgpMime::new(recipients.to_vec(), false).and_then(|envelope| {
        let mut payload = envelope.open(Vec::new())?;
        payload.put(b"x")?;
        payload.finish()
    });
    let _ = written.map_err(harmless);
}

fn same_in_armor(data: &[u8], certs: &[RawCert]) {
    let mut armored = armor::Writer::new(Vec::new(), armor::Kind::PublicKey).unwrap();
    armored.write_all(data).unwrap();
    let armored = armored.finalize().unwrap();
    let bytes = |certs: &[RawCert]| certs.iter().map(|c| c.bytes().to_vec()).collect::<Vec<_>>();
    assert!(bytes(&contents(&armored).certs) == bytes(certs));
    assert!(!has_wrong_checksum(&armored));
}

fn by_setting_and_in_script(data: &[u8], certs: &[RawCert]) {
    let known = |keys: &Chosen| {
        certs.iter().any(|raw| raw.summary().is_ok_and(|s| s.fingerprint == keys.fingerprint()))
    };
    let mut settings = settings(&[]);
    settings.owner_cert = Some(data.to_vec());
    let answer = |found: Result<Vec<Chosen>, Error>| match found {
        Ok(keys) => {
            assert!((1..=16).contains(&keys.len()));
            keys
        }
        Err(why) => {
            harmless(why);
            Vec::new()
        }
    };
    let finder = finder(&settings);
    // The setting takes everything that is not armored for base64.
    let keys = answer(finder.owner());
    assert!(certs.is_empty() || keys.iter().all(known));
    let literal = Recipient::Literal(data.to_vec());
    assert!(answer(finder.find(&literal)).iter().all(known));
    if data.starts_with(b"-----BEGIN PGP ") {
        let defaults = Loaded::new(&RawSettings::default(), Words::default());
        let loaded = Loaded { settings: Ok(settings.clone()), ..defaults };
        if let Finding::Wrong(why) =
            advice::recipient(&loaded, Owner::default(), data, SystemTime::now(), &Harmless)
        {
            harmless(why);
        }
    }
}

fn finder(settings: &Settings) -> Finder<'_> {
    let owner = Owner { user: "good@t.org", ..Owner::default() };
    Finder {
        settings,
        owner,
        now: SystemTime::now(),
        deadline: Deadline::NONE,
        temp_dir: None,
        log: &Harmless,
    }
}

/// Puts the data beside a good certificate, into a folder and into a keyring.
fn in_a_folder(data: &[u8], certs: &[RawCert]) {
    const ADDRESS: &str = "good@t.org";
    static GOOD: LazyLock<(Cert, Vec<u8>)> = LazyLock::new(|| with_certificate(key_for(ADDRESS)));
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.pgp");
    fs::write(folder.path().join("good.asc"), &GOOD.1).unwrap();
    fs::write(&other, data).unwrap();
    let settings = settings(&[folder.path()]);
    let finder = finder(&settings);
    let good = GOOD.0.fingerprint().to_hex();
    let summaries: Vec<_> = certs.iter().filter_map(|raw| raw.summary().ok()).collect();
    let is_mistakable =
        summaries.iter().any(|s| s.fingerprint == good || s.addresses.iter().any(|a| a == ADDRESS));
    match finder.owner() {
        Ok(keys) => assert!(keys.iter().any(|k| k.fingerprint() == good)),
        Err(why) => assert!(is_mistakable, "{why}"),
    }
    let all = finder.list(&settings.sources[0]).unwrap();
    assert!(all.certs.iter().any(|found| found.fingerprint == good));
    all.problems.iter().for_each(harmless);
    let keyring = super::settings(&[&other]);
    for summary in summaries.iter().take(4) {
        let recipient = Recipient::Fingerprint(summary.fingerprint.clone());
        match self::finder(&keyring).find(&recipient) {
            Ok(keys) => assert!(keys.iter().all(|k| k.fingerprint() == summary.fingerprint)),
            Err(why) => harmless(why),
        }
    }
}

/// Checks what is read of an X.509 certificate, and that a message is encrypted to it, or not.
pub fn x509(data: &[u8]) {
    let Some(cert) = X509::from_der(data) else { return };
    assert!(X509::from_der(&[data, b"x"].concat()).is_none(), "what follows was overlooked");
    let key = cert.public_key();
    let _ = (cert.is_damaged(), cert.is_ca(), cert.is_for_mail(), cert.may_encipher(&key), cert.validity());
    let all = cert.addresses(usize::MAX);
    for most in [0, 1, 2] {
        assert_eq!(cert.addresses(most), all[..most.min(all.len())]);
    }
    let is_usable = match key {
        PublicKey::Rsa(bits) => (2048..=8192).contains(&bits),
        PublicKey::Ec(name) => ["prime256v1", "secp384r1", "secp521r1"].contains(&name.as_str()),
        PublicKey::Other => false,
    };
    if !is_usable {
        return;
    }
    match EnvelopedData::new(&[&cert]) {
        Ok(mut message) => {
            let mut out = Vec::new();
            message.write(data, &mut out).unwrap();
            message.finish(&mut out).unwrap();
            assert!(out.len() > data.len());
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

// Settings --------------------------------------------------------------------------------------------

/// Checks settings and recipients, given as texts between NULs: they are understood, or refused with text
/// that is safe for a log.
pub fn configuration(data: &[u8]) {
    let mut values = data.split(|&b| b == 0).map(|v| Some(v).filter(|v| *v != b"-"));
    let mut next = || values.next().flatten();
    let raw = RawSettings {
        certs: next(),
        cert: next(),
        on_error: next(),
        hide_subject: next(),
        compress: next(),
        prefer: next(),
        ..RawSettings::default()
    };
    let mut loaded = Loaded::new(&raw, Words::default());
    assert_eq!(
        loaded.on_error == OnError::Keep,
        raw.on_error.is_some_and(|v| v.trim_ascii() == b"keep"),
        "plaintext only if the administrator says so"
    );
    match &mut loaded.settings {
        Ok(settings) => {
            let certs = raw.certs.map_or_else(|| "".into(), String::from_utf8_lossy);
            assert!(raw.certs.is_none() || settings.sources.len() == certs.split_whitespace().count());
            for source in &settings.sources {
                harmless(display(source));
                assert!(!matches!(source, SourcePath::Absolute(path) if !path.starts_with('/')));
            }
            for (is, value) in [(settings.hide_subject, raw.hide_subject), (settings.compress, raw.compress)]
            {
                assert_eq!(is, value.is_some_and(|v| v.trim_ascii() == b"yes"));
            }
            // The content of such a source depends on the machine.
            settings.sources.clear();
        }
        Err(why) => {
            assert_eq!(why.reason(), Reason::BadSetting);
            harmless(why);
        }
    }
    let text = next().unwrap_or_default();
    if let Ok(recipient) = Recipient::parse(text) {
        harmless(recipient.name("x"));
    }
    let user = String::from_utf8_lossy(next().unwrap_or_default());
    let owner =
        Owner { user: &user, recipient: next().and_then(|r| std::str::from_utf8(r).ok()), home: None };
    match advice::recipient(&loaded, owner, text, SystemTime::now(), &Harmless) {
        Finding::Good => assert!(loaded.settings.is_ok()),
        Finding::Warning(why) | Finding::Wrong(why) | Finding::NotFound(why) => harmless(why),
    }
    if let Ok(settings) = &loaded.settings {
        let _ = Finder {
            settings,
            owner,
            now: SystemTime::now(),
            deadline: Deadline::NONE,
            temp_dir: None,
            log: &Harmless,
        }
        .owner()
        .map_err(harmless);
    }
    let raw = RawSettings { deliveries: next(), saved: next(), user_email: next(), ..RawSettings::default() };
    let loaded = Loaded::new(&raw, Words::default());
    loaded.errors().for_each(harmless);
    if let Ok(Settings { owner_address: Some(address), .. }) = &loaded.settings {
        assert!(address.contains('@'));
    }
    if let Ok(deliveries @ (Deliveries::Warn | Deliveries::No)) = loaded.deliveries {
        let word = if deliveries == Deliveries::No { "no" } else { "warn" };
        assert_eq!(raw.deliveries.unwrap().trim_ascii(), word.as_bytes());
    }
    assert!(!loaded.saves("Sent", "\\Sent") || raw.saved.is_some());
}

// The whole -------------------------------------------------------------------------------------------

/// The options for encrypting one message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Encrypts a message that is encrypted already.
    pub force: bool,
    /// Hides the subject.
    pub hide_subject: bool,
    /// Compresses the message.
    pub compress: bool,
    /// Encrypts to a version 6 certificate.
    pub version6: bool,
    /// Encrypts to a version 4 certificate.
    pub version4: bool,
    /// Chooses the sizes of pieces, as for [`Delivered::new`].
    pub cut: u8,
    /// The number of reads before one fails.
    pub reads: Option<usize>,
    /// The number of writes before one fails.
    pub writes: Option<usize>,
}

/// The result of a run.
pub struct Run {
    result: Result<Outcome, Error>,
    out: Vec<u8>,
    failed: Option<Reason>,
}

/// Accepts a number of writes, then fails.
struct Disk<'a> {
    out: &'a mut Vec<u8>,
    writes: usize,
    failed: bool,
}

impl Write for Disk<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.failed = self.writes == 0;
        if self.failed {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.writes -= 1;
        self.out.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Options {
    /// Makes options of any two bytes.
    pub fn from_bytes([flags, number]: [u8; 2]) -> Self {
        let bit = |n: u8| flags & (1 << n) != 0;
        let number_if = |n: u8| bit(n).then_some(usize::from(number));
        Self {
            force: bit(0),
            hide_subject: bit(1),
            version6: bit(2),
            version4: !bit(2) || bit(3),
            cut: if bit(4) { number } else { 0 },
            reads: number_if(5),
            writes: number_if(6),
            compress: number % 2 == 1,
        }
    }

    fn keys(self) -> impl Iterator<Item = &'static (Cert, Vec<u8>)> {
        KEYS.iter().zip([self.version4, self.version6]).filter(|(_, wanted)| *wanted).map(|(key, _)| key)
    }

    /// Encrypts `message`. Only the product's work runs within `measured`.
    pub fn run(self, message: &[u8], measured: impl FnOnce(&mut dyn FnMut())) -> Run {
        let recipients: Vec<&[u8]> = self.keys().map(|(_, armored)| armored.as_slice()).collect();
        let settings = Settings { compress: self.compress, ..settings(&[]) };
        let job = Job {
            settings: &settings,
            owner: Owner::default(),
            recipients: &recipients,
            also: &[],
            force: self.force,
            hide_subject: self.hide_subject,
            smime: false,
            now: SystemTime::now(),
            deadline: Deadline::NONE,
            temp_dir: None,
        };
        let mut out = Vec::with_capacity(most_out(message.len()));
        let mut source = Delivered::new(message, self.cut);
        source.reads = self.reads.unwrap_or(usize::MAX);
        let mut disk = Disk { out: &mut out, writes: self.writes.unwrap_or(usize::MAX), failed: false };
        let mut result = None;
        measured(&mut || result = Some(encrypt(&job, &mut source, &mut disk, &Harmless).map(|done| done.0)));
        let failed = match (source.failed, disk.failed) {
            (true, _) => Some(Reason::UnreadableMessage),
            (_, true) => Some(Reason::WriteFailed),
            _ => None,
        };
        Run { result: result.expect("it ran"), out, failed }
    }

    /// Checks the result: it decrypts to the original, or the message was left alone, or there is a reason.
    pub fn check(self, message: &[u8], run: &Run) {
        let inspection = inspect(&mut Cursor::new(message)).unwrap();
        match &run.result {
            Err(why) => {
                assert_eq!(Some(why.reason()), run.failed);
                harmless(why);
            }
            Ok(_) if run.failed.is_some() => panic!("an error was overlooked"),
            Ok(Outcome::NoCertificate { .. }) => panic!("nobody asked to leave it"),
            Ok(Outcome::AlreadyEncrypted) => {
                assert!(inspection.encrypted && !self.force && run.out.is_empty());
            }
            Ok(Outcome::Encrypted { recipients, bytes_in, bytes_out }) => {
                assert!(self.force || !inspection.encrypted);
                assert_eq!((*bytes_in, *bytes_out), (message.len() as u64, run.out.len() as u64));
                let fingerprints: Vec<_> = self.keys().map(|(key, _)| key.fingerprint().to_hex()).collect();
                assert_eq!(*recipients, fingerprints);
                assert!(run.out.len() <= most_out(message.len()), "{} bytes", run.out.len());
                let hide_subject = self.hide_subject && !inspection.must_be_outermost;
                self.keys().for_each(|(key, _)| opens(key, message, hide_subject, &run.out));
            }
        }
    }
}

/// Returns the most bytes that an encrypted message may have: base64 takes 66 for 64 with its line ends, each
/// LF may get a CR, and the header is there twice.
fn most_out(message: usize) -> usize {
    message * 5 + (8 << 10)
}

/// Checks that `out` has the right outer header, and that `key` decrypts it to the original.
fn opens(key: &Cert, message: &[u8], hide_subject: bool, out: &[u8]) {
    let reference = Reference::new(message);
    let rest = out.strip_prefix(reference.outer_header(hide_subject).as_slice()).expect("the outer header");
    assert!(rest.starts_with(AGENT.as_bytes()));
    let payload = decrypt(rest, key);
    let expected = if hide_subject {
        let at = find(&payload, b"protected-headers=\"v1\";\r\n boundary=\"").expect("the subject's part");
        let boundary = &payload[at..].split(|&b| b == b'"').nth(3).expect("a boundary");
        reference.payload_with_subject(std::str::from_utf8(boundary).unwrap())
    } else {
        reference.payload()
    };
    assert!(payload == expected, "another payload");
    assert!(inspection(out, 0).encrypted, "it would be encrypted once more");
}
