//! Messages of other projects, where they lie beside this one.

use super::pages::project;

/// One message of the corpus.
pub struct Sample {
    /// Its name in the index.
    pub name: String,
    /// `encrypt`, `leave`, `leave?` or `any`.
    pub expect: String,
    /// The message, as it is.
    pub message: Vec<u8>,
}

/// Samples of which the index says `leave`, and that hold readable text all the same: they were cut
/// from an mbox file by its Content-Length fields, and behind the encrypted object stand whole other
/// messages ("I sent you an encrypted message that was triple-DES").
const ONLY_PARTLY_ENCRYPTED: [&str; 4] = [
    "encrypted-smime/mimekit__content-length.mbox_7.eml",
    "encrypted-smime/mimekit__content-length.mbox_9.eml",
    "encrypted-smime/mimekit__content-length.mbox_12.eml",
    "encrypted-smime/mimekit__content-length.mbox_13.eml",
];

/// All samples.
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
