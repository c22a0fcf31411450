//! Line ends on their way out.

use std::io::{self, Write};

/// Gives every LF that lacks its CR one, and changes no other byte.
pub struct CrlfWriter<W> {
    inner: W,
    last: u8,
}

impl<W: Write> CrlfWriter<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, last: 0 }
    }

    /// The writer below.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for CrlfWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        for lf in memchr::memchr_iter(b'\n', data) {
            let before = if lf == 0 { self.last } else { data[lf - 1] };
            if before != b'\r' {
                self.inner.write_all(&data[written..lf])?;
                self.inner.write_all(b"\r\n")?;
                written = lf + 1;
            }
        }
        self.inner.write_all(&data[written..])?;
        self.last = data.last().copied().unwrap_or(self.last);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_line_feeds_change() {
        let rows: [(&[&[u8]], &[u8]); 5] = [
            (&[b"a\nb\r\nc"], b"a\r\nb\r\nc"),
            (&[b"a\r", b"\nb"], b"a\r\nb"),
            (&[b"a", b"\n", b"\n"], b"a\r\n\r\n"),
            (&[b"\n"], b"\r\n"),
            (&[b"\0\r\r\n\xff\r"], b"\0\r\r\n\xff\r"),
        ];
        for (chunks, expected) in rows {
            let mut writer = CrlfWriter::new(Vec::new());
            chunks.iter().for_each(|c| writer.write_all(c).unwrap());
            assert_eq!(writer.into_inner(), expected);
        }
    }
}
