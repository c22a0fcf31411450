# Compares, for each certificate of some keyrings and each address that is written in it, what perot-encrypt, GnuPG and sq do:
# each encrypts a small message with that certificate alone, the first two to each address, too. Writes the tables of
# agreement, and the differences by reason.
# Usage: tests/keyrings.py PEROT-ENCRYPT KEYRING... (make keyrings)
import base64, collections, concurrent.futures, datetime, json, os, re, subprocess, sys, tempfile

TOOL, RINGS = os.path.abspath(sys.argv[1]), [os.path.abspath(ring) for ring in sys.argv[2:]]
SQ_FILE = ["--recipient-cert"]
if b"--for-file" in subprocess.run(["sq", "encrypt", "--help"], capture_output=True).stdout:
    SQ_FILE = ["--without-signature", "--for-file"]
MAIL = b"Subject: test\n\nThe nightingale sings.\n"
SESSION_KEY, PUBLIC_KEY, USER_ID = 1, 6, 13
# The verdict is "yes", "no" or what is special. "expired": perot-encrypt uses it all the same, GnuPG used it until then, sq
# refuses it because of that.
Answer = collections.namedtuple("Answer", "verdict subkeys reason")


def run(*command, stdin=b""):
    done = subprocess.run([os.fsencode(word) for word in command], input=stdin, capture_output=True)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def packets(data):
    """The packets of OpenPGP data: tag, where the packet begins, its content."""
    at = 0
    while at < len(data):
        begin, tag, at = at, data[at], at + 1
        if tag & 0x40 and data[at] < 192:
            size, length = 1, data[at]
        elif tag & 0x40 and data[at] < 224:
            size, length = 2, (data[at] - 192 << 8) + data[at + 1] + 192
        elif tag & 0x40 and data[at] == 255:
            size, length = 5, int.from_bytes(data[at + 1:at + 5], "big")
        elif not tag & 0x40 and tag & 3 < 3:
            size = 1 << (tag & 3)
            length = int.from_bytes(data[at:at + size], "big")
        else:
            return  # The encrypted text, which has no length.
        at += size + length
        yield tag & 0x3F if tag & 0x40 else tag >> 2 & 15, begin, data[at - length:at]


def certificates(ring):
    """The certificates of a keyring, each byte by byte as it stands there."""
    with open(ring, "rb") as file:
        data = file.read()
    begins = [begin for tag, begin, _ in packets(data) if tag == PUBLIC_KEY] + [len(data)]
    return [data[begin:end] for begin, end in zip(begins, begins[1:])]


def recipients(message):
    """The subkeys to which a message is encrypted, by their key IDs."""
    return {content[1:9].hex().upper() for tag, _, content in packets(message) if tag == SESSION_KEY}


def addresses(cert):
    """What looks like an address in the User IDs, with the User ID: whether anybody finds it is the question."""
    found = {}
    for text in (content.decode(errors="surrogateescape") for tag, _, content in packets(cert) if tag == USER_ID):
        for address in re.findall(r"<([^<>]*@[^<>]*)>", text) + re.findall(r"[^\s<>(),;:\"]+@[^\s<>(),;:\"]+", text):
            found.setdefault(address.strip(), []).append(text)
    return found


def general(reason):
    """A reason without what is special to one certificate."""
    reason = " ".join(reason.split()).removeprefix("perot-encrypt: ")
    reason = re.sub(r"\b[0-9A-F]{40}\b|\b[0-9A-F]{16}(, [0-9A-F]{16})*\b", "*", reason)
    return re.sub(r"\S+@\S+|\d{4}-\d\d-\d\d[^,;]*|/\S+", "*", reason)


class Certificate:
    """One certificate, in a folder of its own, which is GnuPG's home, too."""

    def __init__(self, cert, folder):
        self.cert, self.file = cert, os.path.join(folder, "cert.pgp")
        with open(self.file, "wb") as file:
            file.write(cert)
        self.shown = json.loads(run(TOOL, "check", "--certs", self.file, "--json")[1])["certificates"][0]
        self.fingerprint = self.shown["fingerprint"]
        expires = self.shown["expired"] and datetime.datetime.strptime(self.shown["expires"], "%Y-%m-%dT%H:%M:%SZ")
        self.last_day = expires and expires - datetime.timedelta(days=1)
        self.gpg = ["gpg", "--homedir", folder, "--batch", "--no-autostart", "--utf8-strings", "--no-auto-key-locate",
                    "--trust-model", "always"]
        run(*self.gpg, "--import", self.file)
        listed = run(*self.gpg, "--with-colons", "--list-keys")[1].decode(errors="replace").splitlines()
        self.listed = [line.split(":") for line in listed]
        self.inspected = run("sq", "inspect", self.file)[1].decode(errors="replace").split("\n\n")

    def rows(self):
        """Yields what each does with the certificate, and with each address: that, our answer, GnuPG's, sq's."""
        sq = self.sq()
        yield None, self.ours(self.fingerprint), self.gnupg(self.fingerprint), sq
        for address, user_ids in addresses(self.cert).items():
            refusal = self.sq_refuses(address, user_ids)
            by_sq = Answer("no", set(), refusal) if refusal else sq
            yield address, self.ours(address), self.gnupg(f"<{address}>"), by_sq

    def ours(self, recipient):
        status, out, err = run(TOOL, "--certs", self.file, recipient, stdin=MAIL)
        checked, shown, _ = run(TOOL, "check", "--json", "--certs", self.file, recipient)
        assert (status == 0) == (checked == 0), (self.fingerprint, recipient, "check and encrypt do not agree")
        if status:
            return Answer("no", set(), general(err.split(". Searched:")[0]))
        armor = re.search(rb"BEGIN PGP MESSAGE-----\s+(.*?)\s(?:=.{4}\s+)?-----END", out, re.S)[1]
        shown = json.loads(shown)["certificates"][0]
        kinds = [kind for kind in ("weak", "expired") if shown[kind]]
        return Answer(" and ".join(kinds) or "yes", recipients(base64.b64decode(armor)), "")

    def gnupg(self, recipient):
        encrypt = ["--encrypt", "--recipient", recipient]
        status, out, err = run(*self.gpg, *encrypt, stdin=MAIL)
        if status == 0:
            return Answer("yes", recipients(out), "")
        if self.last_day:
            time = self.last_day.strftime("%Y%m%dT%H%M%S")
            status, out, _ = run(*self.gpg, "--faked-system-time", time, *encrypt, stdin=MAIL)
        if status == 0:
            return Answer("expired", recipients(out), "")
        return Answer("no", set(), self.gnupg_lists(recipient))

    def gnupg_lists(self, recipient):
        """The validity of the subkeys for encryption and of the User IDs with an address, in GnuPG's list of keys."""
        words = {"e": "expired", "r": "revoked", "i": "invalid", "-": "valid", "u": "valid"}
        said = [("subkey", key[1]) for key in self.listed if key[0] in ("pub", "sub") and "e" in key[11]]
        if "@" in recipient:
            said += [("User ID", uid[1]) for uid in self.listed if uid[0] == "uid" and recipient.lower() in uid[9].lower()]
        return "lists " + (", ".join(sorted({f"{words.get(how, how)} {what}" for what, how in said})) or "nothing")

    def sq(self):
        encrypt = ["sq", "encrypt", "--binary", *SQ_FILE, self.file]
        status, out, err = run(*encrypt, stdin=MAIL)
        if status == 0:
            return Answer("yes", recipients(out), "")
        primary = [part for part in self.inspected if "Fingerprint:" in part]
        if "expired on" in err or "not live" in primary[0]:
            return Answer("expired", set(), "")
        return Answer("no", set(), self.sq_says(self.inspected, r"because: (.*)") or general(err))

    def sq_refuses(self, address, user_ids):
        """Why sq counts none of the User IDs with an address; nothing if it counts one."""
        texts = [os.fsencode(text).decode(errors="replace") for text in user_ids if text == address or f"<{address}>" in text]
        about = [part for part in self.inspected for text in texts if f"UserID: {text}\n" in part + "\n"]
        said = [self.sq_says([part], r"because: (.*)", r"(Revoked):", r"Invalid: (.*)") for part in about]
        return "" if "" in said else said[0] if said else "is in no User ID"

    @staticmethod
    def sq_says(parts, *patterns):
        """Why sq inspect does not count what it shows."""
        found = [said for pattern in patterns for said in re.findall(pattern, "\n".join(parts))]
        return general(found[0]) if found else ""


def compare(cert):
    """What we show of a certificate, and its rows."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = Certificate(cert, folder)
        return certificate.shown, list(certificate.rows())


def table(title, rows):
    print(f"\n{title}: {len(rows)}\n\n{'perot-encrypt':17}{'GnuPG':10}{'sq':10}")
    for verdicts, count in collections.Counter(rows).most_common():
        print(f"{verdicts[0]:17}{verdicts[1]:10}{verdicts[2]:10}{count:6}")


def groups(title, differences):
    """Differences, those with one reason together."""
    print(f"\n{title}: {len(differences)}")
    by_reason = collections.defaultdict(list)
    for reason, about in differences:
        by_reason[reason].append(about)
    for reason, about in sorted(by_reason.items(), key=lambda group: -len(group[1])):
        print(f"\n{len(about)} times: {reason}\n  " + "\n  ".join(about))


def why(answers):
    """The verdicts, each with its reason, in one line."""
    said = [answer.verdict + f" ({answer.reason})" * bool(answer.reason) for answer in answers]
    return "perot-encrypt {}; GnuPG {}; sq {}".format(*said)


def subkeys(shown, ours, gnupg, sq):
    """Yields differences in the subkeys of a certificate that is used. GnuPG takes one, sq all that have not expired."""
    reasons = {key["fingerprint"][-16:]: key["reason"] for key in shown["keys"]}
    for name, answer in (("GnuPG", gnupg), ("sq", sq)):
        for key in answer.subkeys - ours.subkeys if ours.subkeys else ():
            yield f"{name} uses a subkey that perot-encrypt does not use: {reasons.get(key) or 'check says no reason'}", key
    for key in ours.subkeys - sq.subkeys if sq.subkeys else ():
        yield "perot-encrypt uses a subkey that sq does not use", key


def whole(ring, compared):
    """Yields where a keyring as a whole is not what its certificates are."""
    alone = {shown["fingerprint"]: shown for shown, _ in compared}
    for shown in json.loads(run(TOOL, "check", "--certs", ring, "--json")[1])["certificates"]:
        for field in shown.keys() - {"files", "source"}:
            if shown[field] != alone[shown["fingerprint"]][field]:
                yield f"{field} is another one in the keyring", shown["fingerprint"]
    found = collections.defaultdict(bool)
    for _, rows in compared:
        for address, ours, _, _ in rows[1:]:
            found[address] |= ours.verdict != "no"
    checked = json.loads(run(TOOL, "check", "--certs", ring, "--json", "--", *found)[1])
    answered = {shown["recipient"] for shown in checked["certificates"] if shown["usable"]}
    for address, is_found in found.items():
        if is_found != (address in answered):
            yield "found in one certificate, or in the keyring, and not in the other", address


def main():
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        rings = [(ring, list(pool.map(compare, certificates(ring)))) for ring in RINGS]
    versions = [run(program, "--version")[1].decode().splitlines()[0] for program in (TOOL, "gpg", "sq")]
    print(datetime.date.today(), *versions, sep=", ")
    compared = [one for _, certs in rings for one in certs]
    verdicts = lambda answers: tuple(answer.verdict for answer in answers)
    table("Certificates", [verdicts(rows[0][1:]) for _, rows in compared])
    table("Addresses", [verdicts(row[1:]) for _, rows in compared for row in rows[1:]])
    differ = [(why(rows[0][1:]), shown["fingerprint"]) for shown, rows in compared if len(set(verdicts(rows[0][1:]))) > 1]
    groups("Certificates with a difference", differ)
    groups("Addresses with a difference that is not that of their certificate",
           [(why(row[1:]), f"{shown['fingerprint']} {row[0]}") for shown, rows in compared for row in rows[1:]
            if len(set(verdicts(row[1:]))) > 1 and verdicts(row[1:]) != verdicts(rows[0][1:])])
    groups("Subkeys with a difference", [(reason, f"{shown['fingerprint']} {key}") for shown, rows in compared
                                         for reason, key in subkeys(shown, *rows[0][1:])])
    groups("Differences between a keyring and its certificates", [one for ring in rings for one in whole(*ring)])


main()
