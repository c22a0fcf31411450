//! `make post-quantum-keys`: makes the certificates in tests/post-quantum anew, with OpenSSL 3.5 or later.

use std::error::Error;
use std::fs;

use perot_testing::armored_secret;
use perot_testing::post_quantum::KINDS;

fn main() -> Result<(), Box<dyn Error>> {
    for kind in KINDS {
        let cert = kind.make().map_err(|why| format!("{}: {why}", kind.name))?;
        fs::write(kind.file(), armored_secret(&cert))?;
    }
    Ok(())
}
