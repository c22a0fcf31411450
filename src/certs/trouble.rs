//! What keeps certificates, files and sources from being used.

use std::{fmt, io};

use crate::log::printable;

/// What is said of a file with a private key of X.509 in it.
pub const PRIVATE_KEY: &str = "it holds a private key, which must not be on a server";

/// The reason why data is not accepted as a certificate, in words for the log.
pub type Refusal = String;

/// What went wrong with a file, and how far it reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The file is passed over, as others may serve.
    Refused(Refusal),
    /// The search has failed: what it has not seen may be what it looks for.
    Failed(Refusal),
}

impl Trouble {
    /// Makes a refusal of a constant text.
    pub fn refused(why: &str) -> Self {
        Self::Refused(why.to_owned())
    }

    /// The deadline has passed.
    pub fn too_slow() -> Self {
        Self::Failed(
            "it takes more CPU time to read than a message may take: make it smaller, or name files after addresses".into(),
        )
    }

    /// There is more than is read. `what` has the number.
    pub fn too_much(what: &str) -> Self {
        Self::Failed(format!("{what}, which is the most that is read: remove what is not needed"))
    }

    /// Classifies an error of the operating system. A file that this user may not read is passed over; a shortage of memory
    /// or file descriptors, or a disk that fails, says nothing of the file.
    pub fn reading(error: io::Error) -> Self {
        let why = format!("it cannot be read: {}", printable(error.to_string()));
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Self::Refused(format!("{why}: the user as whom mail is delivered must be able to read it"))
            }
            io::ErrorKind::IsADirectory | io::ErrorKind::NotFound => Self::Refused(why),
            _ => Self::Failed(why),
        }
    }

    /// Returns the reason.
    pub fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(why) | Self::Failed(why) => why,
        }
    }
}

/// A file in a folder, or a certificate in a file, that cannot be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The name of the file in the folder, printable. `None` for a source that is a file itself.
    pub file: Option<String>,
    /// The reason, in words for the log.
    pub why: Refusal,
    /// The addresses that it claims, as far as they could be read.
    pub claims: Vec<String>,
}

impl Problem {
    /// Returns true if it is a private key, which takes nothing away from the certificate beside it.
    pub fn is_private_key(&self) -> bool {
        self.why == PRIVATE_KEY
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}
