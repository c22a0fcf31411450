//! A second implementation of Section 8 of the specification (doc/admin/vnd.perot.encrypt.txt), for a message
//! in memory: the form of an encrypted message. It is slow and plain, so that it can be compared with the
//! text of the specification.

use super::with_crlf;

/// A message in its parts.
pub struct Reference<'a> {
    /// The fields up to the first line that is none.
    fields: Vec<Field<'a>>,
    /// That line, and all others of the header.
    text: Vec<&'a [u8]>,
    /// All lines of the header.
    header: Vec<&'a [u8]>,
    body: &'a [u8],
    has_end: bool,
}

/// A header field.
struct Field<'a> {
    /// The name in lower case.
    name: String,
    lines: Vec<&'a [u8]>,
}

impl Field<'_> {
    fn is(&self, name: &str) -> bool {
        self.name == name
    }

    fn describes_the_body(&self) -> bool {
        self.is("mime-version") || self.name.starts_with("content-")
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
        self.name.contains("subj") || ["thread-topic", "comments", "keywords"].iter().any(|n| self.is(n))
    }

    /// Returns the field with no white space before its colon.
    fn without_space(&self) -> Vec<u8> {
        let all = with_crlf(&self.lines.concat());
        let colon = all.iter().position(|&b| b == b':').unwrap();
        [&all[..self.name.len()], &all[colon..]].concat()
    }

    /// Returns that, up to the first CR that is not part of a line end.
    fn outside(&self) -> Vec<u8> {
        let all = self.without_space();
        complete(all[..stray_cr(&all).unwrap_or(all.len())].to_vec())
    }

    /// Returns `outside()` if it has no more than message IDs, else one with the IDs only.
    fn outside_with_ids(&self) -> Vec<u8> {
        let name = String::from_utf8_lossy(&self.lines[0][..self.name.len()]).into_owned();
        let mut value = self.lines.concat();
        value.drain(..=value.iter().position(|&b| b == b':').unwrap());
        value.truncate((64 << 10) - name.len() - 1);
        let text: String = value.iter().map(|&b| char::from(b)).collect();
        let mut rest = text.clone();
        let mut ids = Vec::new();
        for (begin, _) in text.match_indices('<') {
            let Some(end) = text[begin..].find('>') else { continue };
            let id = &text[begin..=begin + end];
            let inner = &id[1..end];
            if inner.contains('@') && inner.chars().all(|c| c.is_ascii_graphic() && c != '<') {
                rest = rest.replacen(id, "", 1);
                ids.push(id);
            }
        }
        if stray_cr(&value).is_none() && rest.chars().all(|c| c.is_ascii_whitespace()) {
            return self.outside();
        }
        if ids.is_empty() {
            return Vec::new();
        }
        format!("{name}: {}\r\n", ids.join("\r\n ")).into_bytes()
    }
}

/// Returns the position of the first CR that is not part of a line end.
fn stray_cr(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|&i| bytes[i] == b'\r' && bytes.get(i + 1) != Some(&b'\n'))
}

/// Returns true for a line of mbox, wherever it stands.
fn is_mbox_line(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let is_date = |words: &[&str]| {
        let is_day = (1..=2).contains(&words[1].len()) && words[1].parse::<u8>().is_ok_and(|day| day < 40);
        let is_time =
            words[2].get(..5).and_then(|time| time.split_once(':')).is_some_and(|(hour, minute)| {
                let below =
                    |digits: &str, most| digits.len() == 2 && digits.parse::<u8>().is_ok_and(|n| n < most);
                below(hour, 30) && below(minute, 60)
            });
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(' ').any(|m| m == words[0])
            && is_day
            && is_time
    };
    is_from_line(line) && words.windows(3).any(is_date)
}

/// Returns true for a line that is dropped if it is the first one.
fn is_from_line(line: &[u8]) -> bool {
    let whole = line.len() <= 998 && line.ends_with(b"\n") && stray_cr(line).is_none();
    whole && line.starts_with(b"From ") && field_name(line).is_none()
}

impl<'a> Reference<'a> {
    /// Takes `message` apart.
    pub fn new(message: &'a [u8]) -> Self {
        let mut lines = message.split_inclusive(|&b| b == b'\n').peekable();
        lines.next_if(|first| is_from_line(first));
        let mut has_end = false;
        let is_end = |line: &&[u8]| matches!(*line, b"\n" | b"\r\n");
        let header: Vec<_> = lines
            .by_ref()
            .take_while(|line| {
                has_end = is_end(line);
                !has_end
            })
            .collect();
        let body_size: usize = lines.map(<[u8]>::len).sum();
        let mut fields: Vec<Field<'a>> = Vec::new();
        let mut in_field = false;
        let mut rest = header.iter();
        while let Some(&line) = rest.as_slice().first() {
            match field_name(line) {
                _ if in_field && matches!(line[0], b' ' | b'\t') => {
                    fields.last_mut().unwrap().lines.push(line)
                }
                Some(name) => fields.push(Field { name, lines: vec![line] }),
                None if is_mbox_line(line) => {}
                None => break,
            }
            in_field = !is_mbox_line(line);
            rest.next();
        }
        let text = rest.copied().collect();
        Self { fields, text, header, body: &message[message.len() - body_size..], has_end }
    }

    /// Returns true if CRs end all lines of the message.
    pub fn has_cr_lines(&self) -> bool {
        !self.has_end && stray_cr(&self.header.concat()).is_some()
    }

    /// Returns true if the header has a field of this name, which is in lower case.
    pub fn has(&self, name: &str) -> bool {
        self.header.iter().any(|line| field_name(line).is_some_and(|n| n == name))
    }

    /// Returns the part of the outer header that is made from the original.
    pub fn outer_header(&self, hide_subject: bool) -> Vec<u8> {
        let mut outer = Vec::new();
        let mut hidden = false;
        for field in self.fields.iter().filter(|f| !f.is_left_out()) {
            if hide_subject && (field.is("in-reply-to") || field.is("references")) {
                outer.extend(field.outside_with_ids());
            } else if !hide_subject || !field.tells_the_subject() {
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
        let begin = if self.has_cr_lines() { &self.header } else { &self.text };
        let text = [&begin.concat(), self.body].concat();
        let charset = match std::str::from_utf8(&text) {
            Ok(_) if text.is_ascii() => "us-ascii",
            Ok(_) => "utf-8",
            Err(_) => "windows-1252",
        };
        let encoding = if text.is_ascii() || self.has("content-transfer-encoding") {
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
            fields.flat_map(Field::without_space).collect::<Vec<u8>>()
        };
        let (header, part) = if self.has_cr_lines() {
            (Vec::new(), [b"\r\n", self.header.concat().as_slice()].concat())
        } else {
            let part = complete([half(true), self.text.concat()].concat());
            (complete(half(false)), [part.as_slice(), b"\r\n"].concat())
        };
        let between = format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; protected-headers=\"v1\";\r\n boundary=\"{boundary}\"\
             \r\n\r\n--{boundary}\r\n{}",
            self.missing_fields()
        );
        let end = format!("\r\n--{boundary}--\r\n");
        [&header, between.as_bytes(), &with_crlf(&part), &with_crlf(self.body), end.as_bytes()].concat()
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
