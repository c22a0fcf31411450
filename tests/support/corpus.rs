//! Messages of other projects, where they lie beside this one.

use std::path::{Path, PathBuf};

/// One message of the corpus.
pub struct Sample {
    /// Its name in the index.
    pub name: String,
    /// `encrypt`, `leave`, `leave?` or `any`.
    pub expect: String,
    /// The message, as it is.
    pub message: Vec<u8>,
}

/// All samples.
pub fn samples() -> Vec<Sample> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let index = std::fs::read_to_string(folder.join("index.tsv")).unwrap();
    let row = |line: &str| {
        let mut columns = line.split('\t');
        let name = columns.next().unwrap().to_owned();
        let expect = columns.nth(4).unwrap().to_owned();
        let message = std::fs::read(folder.join(&name)).unwrap();
        Sample { name, expect, message }
    };
    index.lines().filter(|l| !l.starts_with('#')).map(row).collect()
}
