//! Makes mail of ten kinds, as large as such mail is. What is compressed already in real mail (images, archives, the
//! insides of documents) consists of random bytes here, and text is that of this project.

use sequoia_openpgp::crypto::random;

use perot_testing::base64_lines;
use perot_testing::pages::read;

/// Returns the kinds by their names.
pub fn mails() -> [(&'static str, Vec<u8>); 10] {
    let prose = read("doc/admin/administrators.md");
    let source = read("src/ffi/mod.rs");
    [
        ("a short text", text("text/plain; charset=utf-8", &first_lines(&prose, 8))),
        ("a patch", text("text/plain; charset=utf-8", &patch(&source))),
        (
            "a newsletter, text and HTML",
            parts(
                "alternative",
                &[
                    ("text/plain; charset=utf-8", "8bit", prose.as_bytes()),
                    ("text/html; charset=utf-8", "8bit", newsletter(&prose).as_bytes()),
                ],
            ),
        ),
        (
            "an invitation to a meeting",
            parts(
                "alternative",
                &[
                    ("text/plain; charset=utf-8", "8bit", b"You are invited to a meeting.\r\n"),
                    (
                        "text/calendar; charset=utf-8; method=REQUEST",
                        "base64",
                        &base64_lines(calendar().as_bytes()),
                    ),
                ],
            ),
        ),
        ("a bounce (DSN)", bounce(&prose)),
        ("a table, CSV of 200 kB", attachment("text/csv", csv().as_bytes())),
        ("a bill, PDF of 120 kB", attachment("application/pdf", &pdf())),
        (
            "an office document of 80 kB",
            attachment("application/vnd.oasis.opendocument.text", &noise(80 << 10)),
        ),
        ("an archive, ZIP of 1 MB", attachment("application/zip", &noise(1 << 20))),
        ("a photo of 3 MB", attachment("image/jpeg", &noise(3 << 20))),
    ]
}

/// Returns bytes that cannot be compressed.
fn noise(size: usize) -> Vec<u8> {
    let mut noise = vec![0; size];
    random(&mut noise).unwrap();
    noise
}

/// Makes the header of a message that has come through three servers, one of which has signed it.
fn header(content_fields: &str) -> String {
    let mut header = String::new();
    for server in ["mx.example.org", "out.example.net", "submission.example.net"] {
        let id = base64_lines(&noise(12));
        header += &format!(
            "Received: from {server} ({server} [192.0.2.{}])\r\n\tby next.{server} with ESMTPS id {}\tfor <me@example.org>; \
             Sat, 28 Nov 2026 10:00:00 +0000 (UTC)\r\n",
            noise(1)[0],
            String::from_utf8_lossy(&id)
        );
    }
    let signature = String::from_utf8_lossy(&base64_lines(&noise(256))).trim_end().replace("\r\n", "\r\n\t");
    header += &format!(
        "Authentication-Results: mx.example.org; dkim=pass header.d=example.net; spf=pass; dmarc=pass\r\n\
         DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=2026;\r\n\t\
         h=from:to:subject:date:message-id:mime-version:content-type; b={signature}\r\n\
         From: Alice Example <alice@example.net>\r\nTo: Me <me@example.org>\r\nSubject: What we spoke about last week\r\n\
         Date: Sat, 28 Nov 2026 10:00:00 +0000\r\nMessage-ID: <20261128100000.4711@example.net>\r\n\
         User-Agent: Example Mail 1.0\r\nMIME-Version: 1.0\r\n{content_fields}\r\n"
    );
    header
}

fn crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

fn text(content_type: &str, body: &str) -> Vec<u8> {
    let fields = format!("Content-Type: {content_type}\r\nContent-Transfer-Encoding: 8bit\r\n");
    (header(&fields) + &crlf(body)).into_bytes()
}

/// Makes a multipart of parts, each with its type, encoding and body.
fn parts(kind: &str, parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let boundary = "=_47110815";
    let mut message =
        header(&format!("Content-Type: multipart/{kind}; boundary=\"{boundary}\"\r\n")).into_bytes();
    for (content_type, encoding, body) in parts {
        let begin = format!(
            "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        );
        message.extend_from_slice(begin.as_bytes());
        message.extend_from_slice(body);
    }
    message.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    message
}

fn attachment(content_type: &str, data: &[u8]) -> Vec<u8> {
    let text = b"Please find it attached.\r\n\r\nRegards, Alice\r\n";
    parts("mixed", &[("text/plain", "7bit", text), (content_type, "base64", &base64_lines(data))])
}

fn first_lines(text: &str, count: usize) -> String {
    text.split_inclusive('\n').take(count).collect()
}

fn patch(source: &str) -> String {
    let sign = |n: usize| if n % 9 == 0 { "+" } else { " " };
    let lines: String = source.lines().enumerate().map(|(n, line)| format!("{}{line}\n", sign(n))).collect();
    format!("---\n src/ffi/mod.rs | 80 +++\n\ndiff --git a/src/ffi/mod.rs b/src/ffi/mod.rs\n{lines}")
}

fn newsletter(prose: &str) -> String {
    let link = |n: usize| {
        format!(
            "https://news.example.net/c/{}",
            String::from_utf8_lossy(&base64_lines(&noise(24 + n % 3))).trim_end()
        )
    };
    let rows = prose.lines().enumerate().map(|(n, line)| format!(
        "<tr><td class=\"mcnTextContent\" style=\"padding: 0 18px 9px; font-family: Helvetica, Arial, sans-serif; color: #202020;\">\
         <a href=\"{}\" style=\"color: #007c89; text-decoration: underline;\">{line}</a></td></tr>\r\n",
        link(n)
    ));
    format!(
        "<!DOCTYPE html><html><body><table width=\"100%\">\r\n{}</table></body></html>\r\n",
        rows.collect::<String>()
    )
}

fn calendar() -> String {
    let guests = (0..12).map(|n| format!(
        "ATTENDEE;CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:\r\n mailto:guest{n}@example.org\r\n"
    ));
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:4711@example.net\r\n\
         DTSTART:20261201T100000Z\r\nDTEND:20261201T110000Z\r\nSUMMARY:Meeting\r\n{}END:VEVENT\r\nEND:VCALENDAR\r\n",
        guests.collect::<String>()
    )
}

/// Makes a report that has the header of the message that could not be delivered.
fn bounce(prose: &str) -> Vec<u8> {
    let status = "Reporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; bob@example.com\r\nAction: failed\r\n\
                  Status: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 <bob@example.com>: User unknown\r\n";
    let original = String::from_utf8(text("text/plain; charset=utf-8", &first_lines(prose, 20))).unwrap();
    parts(
        "report; report-type=delivery-status",
        &[
            (
                "text/plain",
                "7bit",
                b"Your message could not be delivered to <bob@example.com>: User unknown\r\n",
            ),
            ("message/delivery-status", "7bit", status.as_bytes()),
            ("message/rfc822", "8bit", original.as_bytes()),
        ],
    )
}

fn csv() -> String {
    let rows = noise(4 * 5000);
    let row = |(n, r): (usize, &[u8])| {
        format!(
            "{n};2026-{:02}-{:02};customer {};{}.{:02};EUR\r\n",
            r[0] % 12 + 1,
            r[1] % 28 + 1,
            r[2],
            r[3],
            r[0] % 100
        )
    };
    rows.chunks(4).enumerate().map(row).collect()
}

/// Makes what looks like a PDF: compressed streams, and readable objects between them.
fn pdf() -> Vec<u8> {
    let object = |n: usize| {
        let stream = noise(5000);
        let begin = format!(
            "{n} 0 obj\n<< /Type /XObject /Filter /FlateDecode /Length {} >>\nstream\n",
            stream.len()
        );
        [begin.as_bytes(), &stream, b"\nendstream\nendobj\n"].concat()
    };
    [b"%PDF-1.7\n".to_vec(), (1..24).flat_map(object).collect()].concat()
}
