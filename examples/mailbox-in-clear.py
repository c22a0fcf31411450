#!/usr/bin/env python3
"""Copies a mailbox over IMAP and decrypts what was encrypted at delivery: doc/user/mailbox-in-clear.md.

It runs where the secret key is, and needs GnuPG (for S/MIME: OpenSSL) and Python 3.9 or later. On the server it only adds
messages, and only with --into.
"""

import argparse
import collections
import getpass
import imaplib
import os
import re
import socket
import ssl
import subprocess
import sys
import time

FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
# By these fields a message is known again: the encrypted one has them as its original.
KNOWN_BY = (b"received", b"message-id", b"from", b"date")
MAILDIR_FLAGS = {"\\Answered": "R", "\\Deleted": "T", "\\Draft": "D", "\\Flagged": "F", "\\Seen": "S"}


class Failure(Exception):
    pass


def fields(message, *names):
    """The values of the header fields with these names, in the order of the names."""
    header = re.split(rb"\r?\n(?![ \t])", re.split(rb"\r?\n\r?\n", message, maxsplit=1)[0])
    found = collections.defaultdict(list)
    for field in map(FIELD.fullmatch, header):
        if field is None:
            break
        found[field[1].lower()].append(b" ".join(field[2].split()))
    return [value for name in names for value in found[name]]


def key(message, date):
    return (int(date), *fields(message, *KNOWN_BY))


def seconds(internal_date):
    return time.mktime(imaplib.Internaldate2tuple(internal_date))


class Server:
    def __init__(self, imap, user):
        self.imap = imap
        if imap.state == "NONAUTH":
            password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
            imap.login(user, password)

    @staticmethod
    def good(answer):
        if answer[0] != "OK":
            raise Failure(f"the server says: {answer[1]}")
        return answer[1]

    @staticmethod
    def quoted(name):
        return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'

    def folders(self):
        """All folders, as pairs of the separator and the name."""
        for line in self.good(self.imap.list()):
            head, literal = line if isinstance(line, tuple) else (line, None)
            flags, separator, name = re.fullmatch(rb'\((.*?)\) (?:"\\?(.)"|NIL) (.*)', head).groups()
            if literal is None:
                literal = re.sub(rb"\\(.)", rb"\1", name[1:-1]) if name.startswith(b'"') else name
            # A folder with all mail would bring each message twice.
            if not re.search(rb"\\(Noselect|NonExistent|All)\b", flags, re.IGNORECASE):
                yield separator, literal

    def uids(self, folder):
        if int(self.good(self.imap.select(self.quoted(folder), readonly=True))[0]) == 0:
            return []
        found = (re.search(rb"UID (\d+)", line) for line in self.good(self.imap.fetch("1:*", "(UID)")) if line)
        return [uid[1].decode() for uid in found if uid]

    def message(self, uid, part="BODY.PEEK[]"):
        """The message, its flags, and when it was received."""
        answer = self.good(self.imap.uid("FETCH", uid, f"(UID FLAGS INTERNALDATE {part})"))
        # Each literal is a pair; what stands in front of it and behind it are lines of their own.
        lines = b" ".join(line[0] if isinstance(line, tuple) else line or b"" for line in answer)
        literals = [line[1] for line in answer if isinstance(line, tuple)]
        flags, date = re.search(rb"FLAGS \(([^)]*)\)", lines), re.search(rb'INTERNALDATE "[^"]*"', lines)
        if not (literals and flags and date):
            raise Failure("the server does not send it")
        return literals[0], [flag for flag in flags[1].decode().split() if flag != "\\Recent"], date[0]


class Folder:
    """Writes below a folder of the server."""

    def __init__(self, server, into):
        self.server, self.into = server, into.encode()

    def is_own(self, name, separator):
        return name == self.into or separator and name.startswith(self.into + separator)

    def enter(self, separator, name):
        self.name = self.into + (separator or b".") + name
        if self.server.imap.status(self.server.quoted(self.name), "(MESSAGES)")[0] != "OK":
            self.server.good(self.server.imap.create(self.server.quoted(self.name)))
        part = f"BODY.PEEK[HEADER.FIELDS ({b' '.join(KNOWN_BY).decode()})]"
        copies = (self.server.message(uid, part) for uid in self.server.uids(self.name))
        return [key(header, seconds(date)) for header, _, date in copies]

    def add(self, message, flags, date):
        date = re.search(rb'"[^"]*"', date)[0].decode()
        self.server.good(self.server.imap.append(self.server.quoted(self.name), f"({' '.join(flags)})", date, message))


class Maildir:
    """Writes a Maildir on this machine. Folders have the names that Dovecot gives them."""

    def __init__(self, path):
        self.root, self.count = path, 0

    def is_own(self, name, separator):
        return False

    def enter(self, separator, name):
        parts = [name] if separator is None else name.split(separator)
        parts = [os.fsdecode(part.replace(b".", b"%2E").replace(b"/", b"%2F")) for part in parts]
        self.path = self.root if name.upper() == b"INBOX" else os.path.join(self.root, "." + ".".join(parts))
        for folder in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.path, folder), mode=0o700, exist_ok=True)
        keys = []
        for file in (file for folder in ("cur", "new") for file in os.scandir(os.path.join(self.path, folder))):
            with open(file.path, "rb") as message:
                keys.append(key(message.read(), file.stat().st_mtime))
        return keys

    def add(self, message, flags, date):
        self.count += 1
        date = int(seconds(date))
        name = f"{date}.P{os.getpid()}Q{self.count}T{time.time_ns()}.{socket.gethostname()}"
        flags = "".join(sorted(MAILDIR_FLAGS[flag] for flag in flags if flag in MAILDIR_FLAGS))
        new, place = os.path.join(self.path, "tmp", name), os.path.join(self.path, "cur", f"{name}:2,{flags}")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(message.replace(b"\r\n", b"\n"))
        os.utime(new, (date, date))
        os.rename(new, place)


def decrypted(message, smime):
    """The original of a message that was encrypted at delivery. None if it was not."""
    marker = fields(message, b"encrypted-on-delivery")
    if not marker:
        return None
    if marker[-1].startswith(b"s-mime"):
        if smime is None:
            raise Failure("it is S/MIME, so --smime is needed")
        command = ["openssl", "cms", "-decrypt", "-recip", smime]
    else:
        command = ["gpg", "--batch", "--quiet", "--decrypt"]
    result = subprocess.run(command, input=message, capture_output=True)
    if result.returncode != 0:
        raise Failure(result.stderr.decode(errors="replace").strip())
    # Anybody can write a marker; what a sender has encrypted is no whole message, and stays as it is.
    return result.stdout if fields(result.stdout, *KNOWN_BY) == fields(message, *KNOWN_BY) else None


def copy(server, separator, name, target, smime):
    """Copies a folder. Returns true if all of it was decrypted."""
    there, count = collections.Counter(target.enter(separator, name)), collections.Counter()
    for uid in server.uids(name):
        try:
            message, flags, date = server.message(uid)
            same = key(message, seconds(date))
            if there[same]:
                there[same] -= 1
                count["there already"] += 1
                continue
            original = decrypted(message, smime)
            target.add(original or message, flags, date)
            count["decrypted" if original else "copied as they were"] += 1
        except Failure as failure:
            count["NOT COPIED"] += 1
            subject = b" ".join(fields(message, b"subject")).decode(errors="replace")
            print(f"{os.fsdecode(name)}, UID {uid}, not copied: {failure} (subject: {subject})", file=sys.stderr)
    counts = ", ".join(f"{number} {what}" for what, number in count.items())
    print(f"{os.fsdecode(name)}: {counts or 'empty'}", flush=True)
    return not count["NOT COPIED"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0] + ".")
    parser.add_argument("--host", help="the IMAP server, which must speak TLS on port 993")
    parser.add_argument("--user", help="the name to log in with; the password is asked for, or read from a pipe")
    parser.add_argument("--command", help="a command that speaks IMAP, in place of --host")
    parser.add_argument("--smime", metavar="FILE", help="certificate and secret key for S/MIME, in one file (PEM)")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--to", metavar="FOLDER", help="write a Maildir on this machine")
    target.add_argument("--into", metavar="FOLDER", help="write below this folder on the server, in clear")
    parser.add_argument("folders", nargs="*", help="only these folders")
    said = parser.parse_args()
    if (said.host is None) == (said.command is None):
        parser.error("say --host or --command")
    if said.command:
        imap = imaplib.IMAP4_stream(said.command)
    else:
        # Without a context of its own, imaplib takes any certificate.
        imap = imaplib.IMAP4_SSL(said.host, ssl_context=ssl.create_default_context())
    server = Server(imap, said.user)
    target = Maildir(said.to) if said.to else Folder(server, said.into)
    only = [name.encode() for name in said.folders]
    folders = [f for f in server.folders() if not target.is_own(f[1], f[0]) and (not only or f[1] in only)]
    # No folder is left out because of a failure in another.
    good = [copy(server, separator, name, target, said.smime) for separator, name in folders]
    imap.logout()
    return 0 if good and all(good) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, OSError, imaplib.IMAP4.error) as failure:
        sys.exit(f"failed: {failure}")
