//! Makes the fields of the outer header from those of the original.

use std::io::Write;

use super::crlf::CrlfWriter;
use super::header::{self, Field, Header};
use super::hide_subject::{self, LONGEST_IDS};
use super::lines::Piece;
use super::original::Original;
use crate::error::Result;
use crate::sink::Sink;

/// Fields that are not copied, because they describe or sign the original body. [`header::describes_the_body`] has more of
/// them. The payload keeps all fields.
const LEFT_OUT: [&str; 7] = [
    "lines",
    "dkim-signature",
    "domainkey-signature",
    "arc-seal",
    "arc-message-signature",
    "arc-authentication-results",
    "encrypted-on-delivery",
];

/// Copies fields up to the first line that is not part of one. What follows may belong to the body of a message that has no
/// empty line before its body: many programs read it so. If `hide_subject` is set, fields that tell the subject are left
/// out or replaced.
///
/// # Errors
///
/// Fails if the message cannot be read, if its header is too large, or if `out` cannot be written.
pub fn copy_fields(message: &mut dyn Original, hide_subject: bool, out: &mut dyn Write) -> Result<()> {
    let mut header = Header::open(message)?;
    let mut fields = Fields {
        out: CrlfWriter::new(out),
        hide_subject,
        replacement: Some(hide_subject::REPLACEMENT),
        current: Fate::LeftOut,
        complete: true,
    };
    while let Some((field, piece)) = header.next_piece()? {
        match field {
            Field::Begins(name) => {
                fields.end()?;
                fields.begin(&name)?;
                for half in header::without_space(&name, &piece) {
                    fields.piece(&half)?;
                }
            }
            Field::Continues => fields.piece(&piece)?,
            Field::MboxLine => {}
            Field::NotAField => break,
        }
    }
    fields.end()?;
    Ok(fields.out.finish()?)
}

/// Copies the pieces of fields.
struct Fields<W: Write> {
    out: CrlfWriter<W>,
    hide_subject: bool,
    /// What is written in the place of the first Subject.
    replacement: Option<&'static str>,
    current: Fate,
    /// True if the last line that was written has its line end.
    complete: bool,
}

/// What becomes of a field.
enum Fate {
    LeftOut,
    Copied,
    /// It is collected, to be copied without what is not a message ID.
    Ids(Vec<u8>),
}

impl<W: Write> Fields<W> {
    fn begin(&mut self, name: &str) -> Result<()> {
        self.current = match name {
            _ if self.hide_subject && hide_subject::tells_the_subject(name) => {
                let replacement = self.replacement.take_if(|_| name == "subject").unwrap_or_default();
                self.out.put(replacement.as_bytes())?;
                Fate::LeftOut
            }
            _ if self.hide_subject && hide_subject::has_ids(name) => Fate::Ids(Vec::new()),
            _ if header::describes_the_body(name) || LEFT_OUT.contains(&name) => Fate::LeftOut,
            _ => Fate::Copied,
        };
        Ok(())
    }

    fn piece(&mut self, piece: &Piece<'_>) -> Result<()> {
        match &mut self.current {
            Fate::LeftOut => {}
            Fate::Ids(field) => {
                let room = LONGEST_IDS.saturating_sub(field.len());
                field.extend(piece.bytes.iter().take(room));
            }
            Fate::Copied => {
                // The rest may be the body of a message that has no other line ends.
                let end = piece.bare_cr();
                let bytes = &piece.bytes[..end.unwrap_or(piece.bytes.len())];
                self.out.put(bytes)?;
                self.complete = bytes.ends_with(b"\n");
                if end.is_some() {
                    self.current = Fate::LeftOut;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Fate::Ids(field) = std::mem::replace(&mut self.current, Fate::LeftOut) {
            let field = hide_subject::only_ids(&field);
            self.out.put(&field)?;
            self.complete = field.is_empty() || field.ends_with(b"\n");
        }
        if !std::mem::replace(&mut self.complete, true) {
            self.out.put(b"\n")?;
        }
        Ok(())
    }
}
