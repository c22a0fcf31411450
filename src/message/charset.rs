//! Guesses the character set of a body that has no Content-Type.

/// The character set that the bytes of a body suggest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// All bytes are ASCII.
    Ascii,
    /// The bytes are valid UTF-8.
    Utf8,
    /// Anything else: windows-1252 is the most likely of the others.
    Other,
}

impl Charset {
    /// Returns the name for the parameter `charset`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ascii => "us-ascii",
            Self::Utf8 => "utf-8",
            Self::Other => "windows-1252",
        }
    }
}

/// Reads a body in chunks and tells its character set.
#[derive(Debug, Default)]
pub struct Detector {
    eight_bit: bool,
    invalid: bool,
    /// The first bytes, at most three, of a character that continues in the next chunk.
    pending: Vec<u8>,
}

impl Detector {
    /// Reads the next chunk.
    pub fn update(&mut self, chunk: &[u8]) {
        self.eight_bit |= !chunk.is_ascii();
        if self.invalid || !self.eight_bit {
            return;
        }
        let joined;
        let data = if self.pending.is_empty() {
            chunk
        } else {
            joined = [&self.pending, chunk].concat();
            &joined
        };
        let rest = match std::str::from_utf8(data) {
            Ok(_) => Vec::new(),
            Err(e) if e.error_len().is_none() => data[e.valid_up_to()..].to_vec(),
            Err(_) => {
                self.invalid = true;
                Vec::new()
            }
        };
        self.pending = rest;
    }

    /// Returns the character set of the whole body.
    pub fn finish(self) -> Charset {
        match (self.eight_bit, self.invalid || !self.pending.is_empty()) {
            (false, _) => Charset::Ascii,
            (true, false) => Charset::Utf8,
            (true, true) => Charset::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_bytes_in_any_cut() {
        let rows: [(&[u8], Charset); 5] = [
            (b"plain\x00\x7f", Charset::Ascii),
            ("grüße 🙂 x".as_bytes(), Charset::Utf8),
            (b"gr\xfc\xdfe", Charset::Other),
            ("cut: 🙂".as_bytes().split_last().unwrap().1, Charset::Other),
            (b"", Charset::Ascii),
        ];
        for (data, expected) in rows {
            for size in 1..=data.len().max(1) {
                let mut detector = Detector::default();
                data.chunks(size).for_each(|c| detector.update(c));
                assert_eq!(detector.finish(), expected, "{data:?} in chunks of {size}");
            }
        }
    }
}
