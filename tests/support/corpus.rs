//! Reads the corpus: messages of other projects, in a folder beside this project.

use super::pages::project;

/// One message of the corpus.
pub struct Sample {
    /// The name in the index.
    pub name: String,
    /// `encrypt`, `leave`, `leave?` or `any`.
    pub expect: String,
    /// The message, unchanged.
    pub message: Vec<u8>,
}

/// Samples that the index lists with `leave`, but that have readable text: they were cut from an mbox file by
/// its Content-Length fields, so that other messages follow the encrypted object ("I sent you an encrypted
/// message that was triple-DES").
const ONLY_PARTLY_ENCRYPTED: [&str; 4] = [
    "encrypted-smime/mimekit__content-length.mbox_7.eml",
    "encrypted-smime/mimekit__content-length.mbox_9.eml",
    "encrypted-smime/mimekit__content-length.mbox_12.eml",
    "encrypted-smime/mimekit__content-length.mbox_13.eml",
];

/// Returns all samples.
pub fn samples() -> Vec<Sample> {
    let folder = project("../shared/corpus");
    let index = std::fs::read_to_string(folder.join("index.tsv")).unwrap();
    let row = |line: &str| {
        let mut columns = line.split('\t');
        let name = columns.next().unwrap().to_owned();
        let indexed = columns.nth(4).unwrap();
        let expect =
            if ONLY_PARTLY_ENCRYPTED.contains(&name.as_str()) { "encrypt" } else { indexed }.to_owned();
        let message = std::fs::read(folder.join(&name)).unwrap();
        Sample { name, expect, message }
    };
    index.lines().filter(|l| !l.starts_with('#')).map(row).collect()
}
