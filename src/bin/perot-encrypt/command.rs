//! The command line, which clap parses and the man pages show.

use clap::{value_parser, Arg, ArgAction, ArgGroup, Command};

const ABOUT: &str = "Encrypts the message on standard input, and writes it to standard output";

const MORE: &str = "Encrypts the message on standard input, and writes it to standard output.\n\n\
    A message that is encrypted already is written as it is. On failure nothing is written, and the exit \
    status is 75 (EX_TEMPFAIL).";

const ABOUT_CHECK: &str = "Shows certificates, and whether they can be used";

const MORE_ON_CHECK: &str = "Shows certificates, and whether they can be used.\n\n\
    For each RECIPIENT, those that a message would be encrypted to; without any, all that the certificate sources \
    hold. The exit status is 1 if a RECIPIENT has no certificate that can be used, and 75 if the check itself fails.";

const MORE_ON_GPGIT: &str = "Encrypts the message on standard input, and writes it to standard output.\n\n\
    This is perot-encrypt, with gpgit's arguments. It writes PGP/MIME whatever the mode. On failure nothing \
    is written, and the exit status is 75 (EX_TEMPFAIL).";

const ABOUT_DOCTOR: &str = "Tells whether mail that is delivered would be encrypted";

const MORE_ON_DOCTOR: &str = "Tells whether mail that is delivered would be encrypted, and what to write if not.\n\n\
    It reads the configuration with doveconf, and looks at the plugins, at what the running Dovecot has read and, for \
    each USER, at scripts and certificates, with the user's rights: run it as root. The exit status is 1 if something \
    would be stored in clear or deferred, and 75 if that cannot be told.";

const ABOUT_MAILBOX: &str = "Encrypts the mail that is in mailboxes already";

const MORE_ON_MAILBOX: &str = "Encrypts the mail that is in mailboxes already, with sieve-filter.\n\n\
    Without MAILBOX these are all of a user's own mailboxes. Left as they are: drafts, what is in mailboxes for drafts, \
    templates and the outbox, notes and other data that is no mail, and messages that are marked as deleted. An encrypted \
    message has a new, higher UID. Nothing is done for a user whose mailboxes would take more than the quota. It goes on \
    after a failure; then the exit status is 1.";

/// The command line of `perot-encrypt`.
pub fn command() -> Command {
    Command::new("perot-encrypt")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(MORE)
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .disable_help_subcommand(true)
        .arg(certs())
        .arg(flag("force", "Encrypt a message that is encrypted already, too"))
        .arg(flag("hide-subject", "Put the subject into the encrypted part, and `[...]` in its place"))
        .arg(compress())
        .arg(subkeys())
        .arg(prefer())
        .arg(recipient().required(true))
        .subcommand(check())
        .subcommand(doctor())
        .subcommand(mailbox())
}

fn check() -> Command {
    Command::new("check")
        .about(ABOUT_CHECK)
        .long_about(MORE_ON_CHECK)
        .arg(certs())
        .arg(Arg::new("days").long("days").value_name("DAYS").value_parser(value_parser!(u16)).help(
            "For monitoring: end with 1 if a certificate cannot be used, or expires within so many days",
        ))
        .arg(flag(
            "weak",
            "For monitoring: end with 1 also if a certificate counts only because self-signatures with SHA-1 are accepted",
        ))
        .arg(flag("json", "Write JSON"))
        .arg(subkeys())
        .arg(prefer())
        .arg(recipient())
}

/// The command line of `gpgit`, which this program accepts if it is called by that name.
pub fn gpgit() -> Command {
    Command::new("gpgit")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(MORE_ON_GPGIT)
        .args_override_self(true)
        .arg(
            Arg::new("encrypt-mode")
                .long("encrypt-mode")
                .value_name("MODE")
                .value_parser(["pgpmime", "prefer-inline", "inline-or-plain"])
                .default_value("pgpmime")
                .help("Accepted, and PGP/MIME is written in any case"),
        )
        .arg(flag("inline-flatten", "Accepted, and no part of a message is left out"))
        .arg(flag("skip-smime", "What S/MIME has encrypted is always left as it is"))
        .arg(flag("skip-ms-bug", "PGP/MIME that Exchange has rebuilt is always left as it is"))
        .arg(certs())
        .arg(compress())
        .arg(recipient().required(true))
}

fn compress() -> Arg {
    flag("compress", "Compress the message before it is encrypted")
}

fn subkeys() -> Arg {
    Arg::new("subkeys")
        .long("subkeys")
        .value_name("WHICH")
        .value_parser(["all", "post-quantum"])
        .default_value("all")
        .help("Which subkeys are used; post-quantum: where a certificate has such subkeys, only these")
}

fn prefer() -> Arg {
    Arg::new("prefer")
        .long("prefer")
        .value_name("KIND")
        .value_parser(["openpgp", "smime"])
        .default_value("openpgp")
        .help("The kind of certificate that is used where a recipient has both")
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn recipient() -> Arg {
    Arg::new("recipient")
        .value_name("RECIPIENT")
        .action(ArgAction::Append)
        .help("For whom: an e-mail address, a fingerprint, or an armored certificate")
}

fn certs() -> Arg {
    Arg::new("certs")
        .long("certs")
        .value_name("SOURCE")
        .action(ArgAction::Append)
        .env("PEROT_ENCRYPT_CERTS")
        .hide_env_values(true)
        .help(
            "A certificate source: a folder, a keyring file or an OpenPGP certificate directory. May be given \
             several times. Without it: ~/pgp-certs and /etc/dovecot/pgp-certs",
        )
}

fn config() -> Arg {
    Arg::new("config")
        .short('c')
        .value_name("FILE")
        .help("The configuration file of Dovecot, if it is another")
}

fn user(help: &'static str) -> Arg {
    Arg::new("user").long("user").value_name("USER").action(ArgAction::Append).help(help)
}

fn doctor() -> Command {
    Command::new("doctor")
        .about(ABOUT_DOCTOR)
        .long_about(MORE_ON_DOCTOR)
        .arg(config())
        .arg(user("Whose deliveries").conflicts_with("all-users"))
        .arg(flag("all-users", "All users (doveadm user '*'), and of them those whose mail is not encrypted"))
        .arg(flag("json", "Write JSON"))
}

fn mailbox() -> Command {
    Command::new("mailbox")
        .about(ABOUT_MAILBOX)
        .long_about(MORE_ON_MAILBOX)
        .arg(flag("dry-run", "Change nothing: count what would be done"))
        .arg(config())
        .arg(
            Arg::new("script")
                .long("script")
                .value_name("FILE")
                .help("A Sieve script. Without it: one that says `encrypt;` and nothing else"),
        )
        .arg(user("Whose mailboxes"))
        .arg(flag("all", "All users (doveadm user '*')"))
        .group(ArgGroup::new("users").args(["user", "all"]).required(true))
        .arg(
            Arg::new("mailbox")
                .value_name("MAILBOX")
                .action(ArgAction::Append)
                .help("The mailboxes, if not all"),
        )
        .arg(
            Arg::new("except")
                .long("except")
                .value_name("MAILBOX")
                .action(ArgAction::Append)
                .conflicts_with("mailbox")
                .help("A mailbox that is left out. May be given several times"),
        )
}
