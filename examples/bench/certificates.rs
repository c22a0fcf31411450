//! Measures folders with many certificates, and certificates with many signatures.

use std::fs;

use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::packet::Packet;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::SignatureType;
use sequoia_openpgp::Cert;

use crate::measure::{interleaved, rounds, Way};
use crate::page::{milliseconds, ratio, Page};
use crate::setup::{message, Servers, ENCRYPT_OWNER, SMALL};
use perot_testing::{armored, key_for};

/// The numbers of certificate files in a user's folder.
const COUNTS: [usize; 4] = [1, 10, 100, 10_000];
/// The position of the folder with ten files in [`COUNTS`].
const TEN: usize = 1;

/// Folders that are compared with one of their group.
struct Group {
    name: &'static str,
    folders: Vec<Folder>,
    compared: usize,
}

/// The folder of a user who has a certificate in it.
struct Folder {
    name: String,
    user: String,
    /// File names and contents.
    files: Vec<(String, Vec<u8>)>,
    /// The median times of a delivery: warm, cold.
    times: [f64; 2],
}

impl Folder {
    /// `file` holds the user's own certificate.
    fn new(name: &str, user: String, file: (String, Vec<u8>)) -> Self {
        Self { name: name.into(), user, files: vec![file], times: [0.0; 2] }
    }
}

pub fn certificates(servers: &Servers, page: &mut Page) {
    eprintln!("certificates: making them");
    let others: Vec<Vec<u8>> = (0..COUNTS[3]).map(|n| armored(&key_for(&other(n)))).collect();
    let mut groups = [by_number(&others, true), by_number(&others, false), special()];
    for (n, dovecot) in [&servers.warm, &servers.cold].into_iter().enumerate() {
        eprintln!("certificates: {}", ["warm", "cold"][n]);
        let mut folders: Vec<&mut Folder> = groups.iter_mut().flat_map(|group| &mut group.folders).collect();
        for folder in &folders {
            dovecot.script(&folder.user, ENCRYPT_OWNER);
            // Not below the home, where no user may have so many.
            let place = dovecot.path("many").join(&folder.user);
            fs::create_dir_all(&place).unwrap();
            for (name, content) in &folder.files {
                fs::write(place.join(name), content).unwrap();
            }
        }
        let rounds = (rounds(SMALL) / [2, 5][n]).max(3);
        let ways: Vec<Way<'_>> =
            folders.iter().map(|folder| Way { dovecot, user: &folder.user, rounds }).collect();
        let times = interleaved(&ways, n == 1, &message(SMALL));
        folders.iter_mut().zip(times).for_each(|(folder, time)| folder.times[n] = time);
    }
    write(&groups, page);
}

fn other(n: usize) -> String {
    format!("other-{n}@bench.test")
}

/// Makes a folder for each of [`COUNTS`]. Its files are named after their addresses, or not.
fn by_number(others: &[Vec<u8>], by_address: bool) -> Group {
    let file_name = |n: usize, address: &str| {
        let name = if by_address { address.to_owned() } else { format!("file-{n}") };
        name + ".asc"
    };
    let folder = |count: usize| {
        let user = format!("certs-{count}-{by_address}@bench.test");
        let own = (file_name(count, &user), armored(&key_for(&user)));
        let mut folder = Folder::new(&count.to_string(), user, own);
        let others = others.iter().take(count - 1).enumerate();
        folder.files.extend(others.map(|(n, cert)| (file_name(n, &other(n)), cert.clone())));
        folder
    };
    let name = if by_address { "files named by address" } else { "files named otherwise" };
    Group { name, folders: COUNTS.into_iter().map(folder).collect(), compared: TEN }
}

/// Makes folders with one special certificate each.
fn special() -> Group {
    let folder = |(name, forged, foreign)| {
        let user = format!("certs-signed-{forged}-{foreign}@bench.test");
        let file = ("file.pgp".to_owned(), signed(&key_for(&user), forged, foreign));
        Folder::new(name, user, file)
    };
    let folders = [
        ("an ordinary one", 0, 0),
        ("with 5000 signatures of others", 0, 5000),
        ("of 1 MiB, made to be slow: 250 forged signatures, 5500 of others", 250, 5500),
    ];
    Group { name: "one certificate", folders: folders.map(folder).into(), compared: 0 }
}

/// Makes a certificate with signatures of another key over its User ID. `forged` of them claim to be its own.
fn signed(cert: &Cert, forged: usize, foreign: usize) -> Vec<u8> {
    let other = key_for("signer@bench.test");
    let mut signer = other.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let mut data = Vec::new();
    for packet in cert.clone().strip_secret_key_material().into_packets() {
        data.extend(packet.to_vec().unwrap());
        let Packet::UserID(user_id) = &packet else { continue };
        for n in 0..forged + foreign {
            let claimed = if n < forged { cert } else { &other };
            let signature = SignatureBuilder::new(SignatureType::GenericCertification)
                .set_issuer_fingerprint(claimed.fingerprint())
                .and_then(|s| s.sign_userid_binding(&mut signer, cert.primary_key().key(), user_id))
                .and_then(|signature| Packet::from(signature).to_vec());
            data.extend(signature.unwrap());
        }
    }
    assert!(data.len() <= 1 << 20, "larger than what is read: {}", data.len());
    data
}

fn write(groups: &[Group; 3], page: &mut Page) {
    page.section(
        "Certificates",
        "Messages of 4 kB to a user who has a folder of certificate files. \"Named by address\": the file is called as the \
         address that is looked for, with `.asc` behind it. Every so many seconds, one warm delivery looks for files that \
         have changed in place ([Limits](architecture.md#limits)); a median does not show it.",
    );
    for Group { name, folders, compared } in groups {
        let base = &folders[*compared];
        let row = |folder: &Folder| {
            let [warm, cold] = folder.times.map(milliseconds);
            let [warm_ratio, cold_ratio] = [0, 1].map(|n| ratio(folder.times[n] / base.times[n]));
            [folder.name.clone(), warm, warm_ratio, cold, cold_ratio]
        };
        let times = format!("/ {}", base.name);
        page.table([name, "warm", &times, "cold", &times], &folders.iter().map(row).collect::<Vec<_>>());
    }
    let [by_address, otherwise, special] = groups.each_ref().map(|group| &group.folders);
    for (n, state) in ["warm", "cold"].into_iter().enumerate() {
        for (naming, folders) in [("by address", by_address), ("otherwise", otherwise)] {
            let what = format!("10 000 certificate files named {naming}, {state}: / 10 files");
            page.at_most(&what, 1.2, Some(folders[3].times[n] / folders[TEN].times[n]), "");
        }
    }
    let more = (special[2].times[1] - special[0].times[1]) * 1e3;
    let what = "a certificate of 1 MiB, made to be slow, cold: more than an ordinary one";
    page.at_most(what, 100.0, Some(more), " ms");
}
