//! Measures how large mail is where it is stored.

use crate::kinds::mails;
use crate::measure::{deliver, empty};
use crate::page::{ratio, Page};
use crate::setup::{Servers, GPGIT, KEEP, STORED};
use perot_testing::dovecot::Lmtp;

pub fn sizes(servers: &Servers, page: &mut Page) {
    eprintln!("stored sizes");
    page.section(
        "Stored size",
        "Bytes in the mailbox, and how many times those of `keep`. Compressed: `sieve_perot_encrypt_compress = yes`. What is \
         compressed already in real mail (images, archives, the insides of documents) consists of random bytes here.",
    );
    if !servers.has_gpgit() {
        page.text(&format!(
            "{} stores ciphertext without a header, where gpgit stores a message.",
            servers.old
        ));
    }
    let ways = [
        (&servers.warm, KEEP),
        (&servers.stores_warm, STORED),
        (&servers.compresses, STORED),
        (&servers.warm, GPGIT),
    ];
    let row = |(name, message): (&str, Vec<u8>)| {
        let [keep, plain, compressed, old] = ways.map(|(dovecot, user)| {
            deliver(&mut Lmtp::connect(&dovecot.path("run/lmtp")), user, &message);
            let stored = dovecot.only_message(user).len();
            empty(dovecot, user);
            stored
        });
        let times = [plain, compressed, old].map(|size| ratio(size as f64 / keep as f64));
        let [plain_times, compressed_times, old_times] = times;
        let [keep, plain, compressed, old] = [keep, plain, compressed, old].map(|size| size.to_string());
        [name.to_owned(), keep, plain, compressed, old, plain_times, compressed_times, old_times]
    };
    let times = format!("{} / `keep`", servers.old);
    let columns = [
        "mail",
        "`keep`",
        "encrypted",
        "encrypted, compressed",
        servers.old,
        "encrypted / `keep`",
        "compressed / `keep`",
        &times,
    ];
    page.table(columns, &mails().map(row));
}
