//! The command line.

use clap::{Arg, ArgAction, ArgGroup, Command};

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
        .subcommand(mailbox())
        .arg(certs())
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .help("Encrypt a message that is encrypted already, too"),
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

const MAILBOX_ABOUT: &str = "Encrypts the mail that is in mailboxes already, with sieve-filter.\n\n\
    Without MAILBOX these are all of a user's own mailboxes. Drafts and messages that are marked as deleted are left \
    as they are. It goes on after a failure; then the exit status is 1.";

fn mailbox() -> Command {
    Command::new("mailbox")
        .about(MAILBOX_ABOUT)
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Change nothing: count what would be done"),
        )
        .arg(
            Arg::new("config")
                .short('c')
                .value_name("FILE")
                .help("The configuration file of Dovecot, if it is another"),
        )
        .arg(
            Arg::new("script")
                .long("script")
                .value_name("FILE")
                .help("A Sieve script. Without it: one that says `encrypt;` and nothing else"),
        )
        .arg(
            Arg::new("user")
                .long("user")
                .value_name("USER")
                .action(ArgAction::Append)
                .help("Whose mailboxes"),
        )
        .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("All users (doveadm user '*')"))
        .group(ArgGroup::new("users").args(["user", "all"]).required(true))
        .arg(
            Arg::new("mailbox")
                .value_name("MAILBOX")
                .action(ArgAction::Append)
                .help("The mailboxes, if not all"),
        )
}
