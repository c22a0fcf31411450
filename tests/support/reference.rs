//! A second implementation of Section 8 of the specification (doc/admin/vnd.perot.encrypt.txt), for a message
//! in memory: the form of an encrypted message. It is slow and plain, so that it can be compared with the
//! text of the specification.

use super::with_crlf;

/// A message in its parts.
pub struct Reference<'a> {
    fields: Vec<Field<'a>>,
    header: Vec<&'a [u8]>,
    body: &'a [u8],
}

/// A header field, or a line that is not one, with the folded lines after it.
struct Field<'a> {
    /// The name in lower case; `None` for a line that is not a field.
    name: Option<String>,
    lines: Vec<&'a [u8]>,
}

impl Field<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    fn describes_the_body(&self) -> bool {
        self.name.as_ref().is_none_or(|n| n == "mime-version" || n.starts_with("content-"))
    }

    fn is_left_out(&self) -> bool {
        const VOUCHES: [&str; 7] = [
            "lines",
            "dkim-signature",
            "domainkey-signature",
            "arc-seal",
            "arc-message-signature",
            "arc-authentication-results",
            "encrypted-on-delivery",
        ];
        self.describes_the_body() || VOUCHES.iter().any(|v| self.is(v))
    }

    fn tells_the_subject(&self) -> bool {
        self.name.as_ref().is_some_and(|n| n.contains("subject"))
            || ["thread-topic", "comments", "keywords"].iter().any(|n| self.is(n))
    }

    /// Returns the field up to the first CR that is not part of a line end.
    fn outside(&self) -> Vec<u8> {
        let all = with_crlf(&self.lines.concat());
        let stray = (0..all.len()).find(|&i| all[i] == b'\r' && all.get(i + 1) != Some(&b'\n'));
        let mut shown = all[..stray.unwrap_or(all.len())].to_vec();
        if !shown.ends_with(b"\r\n") {
            shown.extend_from_slice(b"\r\n");
        }
        shown
    }
}

impl<'a> Reference<'a> {
    /// Takes `message` apart.
    pub fn new(message: &'a [u8]) -> Self {
        let mut lines = message.split_inclusive(|&b| b == b'\n').peekable();
        lines.next_if(|first| first.starts_with(b"From ") && field_name(first).is_none());
        let header: Vec<_> = lines.by_ref().take_while(|line| !matches!(*line, b"\n" | b"\r\n")).collect();
        let body_size: usize = lines.map(<[u8]>::len).sum();
        let mut fields: Vec<Field<'a>> = Vec::new();
        for &line in &header {
            match fields.last_mut() {
                Some(field) if matches!(line[0], b' ' | b'\t') => field.lines.push(line),
                _ => fields.push(Field { name: field_name(line), lines: vec![line] }),
            }
        }
        Self { fields, header, body: &message[message.len() - body_size..] }
    }

    /// Returns true if the header has a field of this name, which is in lower case.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|f| f.is(name))
    }

    /// Returns the part of the outer header that is made from the original.
    pub fn outer_header(&self, hide_subject: bool) -> Vec<u8> {
        let mut outer = Vec::new();
        let mut hidden = false;
        for field in self.fields.iter().filter(|f| !f.is_left_out()) {
            if !hide_subject || !field.tells_the_subject() {
                outer.extend(field.outside());
            } else if field.is("subject") && !std::mem::replace(&mut hidden, true) {
                outer.extend_from_slice(b"Subject: [...]\r\n");
            }
        }
        outer
    }

    fn missing_fields(&self) -> String {
        if self.has("content-type") {
            return String::new();
        }
        let charset = match std::str::from_utf8(self.body) {
            Ok(_) if self.body.is_ascii() => "us-ascii",
            Ok(_) => "utf-8",
            Err(_) => "windows-1252",
        };
        let encoding = if self.body.is_ascii() || self.has("content-transfer-encoding") {
            ""
        } else {
            "Content-Transfer-Encoding: 8bit\r\n"
        };
        format!("Content-Type: text/plain; charset={charset}\r\n{encoding}")
    }

    /// Returns the payload.
    pub fn payload(&self) -> Vec<u8> {
        let header = complete(self.header.concat());
        [self.missing_fields().as_bytes(), &header, b"\r\n", &with_crlf(self.body)].concat()
    }

    /// Returns the payload for a hidden subject, with this boundary.
    pub fn payload_with_subject(&self, boundary: &str) -> Vec<u8> {
        let half = |describing: bool| {
            let fields = self.fields.iter().filter(|f| f.describes_the_body() == describing);
            complete(fields.flat_map(|f| f.lines.concat()).collect())
        };
        let between = format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; protected-headers=\"v1\";\r\n boundary=\"{boundary}\"\
             \r\n\r\n--{boundary}\r\n{}",
            self.missing_fields()
        );
        let end = format!("\r\n--{boundary}--\r\n");
        [&half(false), between.as_bytes(), &half(true), b"\r\n", &with_crlf(self.body), end.as_bytes()]
            .concat()
    }
}

fn field_name(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(&line[..line.iter().position(|&b| b == b':')?]).ok()?;
    let name = text.trim_end_matches([' ', '\t']).as_bytes();
    let good = (1..=998).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
    good.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

/// Gives all lines a CR LF, the last one included.
fn complete(lines: Vec<u8>) -> Vec<u8> {
    let mut lines = with_crlf(&lines);
    if !lines.is_empty() && !lines.ends_with(b"\n") {
        lines.extend_from_slice(b"\r\n");
    }
    lines
}
