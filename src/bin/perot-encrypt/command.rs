//! The command line.

use clap::{Arg, ArgAction, Command};

const ABOUT: &str = "Encrypts the message on standard input, and writes it to standard output.\n\n\
    A message that is encrypted already is written as it is. On failure nothing is written, and the exit \
    status is 75 (EX_TEMPFAIL).";

/// The whole of it, as clap and the man page need it.
pub fn command() -> Command {
    Command::new("perot-encrypt")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .arg(certs())
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .help("Encrypt a message that is encrypted already, too"),
        )
        .arg(
            Arg::new("hide-subject")
                .long("hide-subject")
                .action(ArgAction::SetTrue)
                .help("Put the subject into the encrypted part, and `[...]` in its place"),
        )
        .arg(
            Arg::new("recipient")
                .value_name("RECIPIENT")
                .action(ArgAction::Append)
                .required(true)
                .help("For whom: an e-mail address, a fingerprint, or an armored certificate"),
        )
}

fn certs() -> Arg {
    Arg::new("certs").long("certs").value_name("SOURCE").action(ArgAction::Append).help(
        "A certificate source: a folder, a keyring file or an OpenPGP certificate directory. May be given \
         several times. Without it: ~/pgp-certs and /etc/dovecot/pgp-certs",
    )
}
