"""Parses encrypted messages with Python's email package, and prints what is wrong with them.

Standard input has records of four fields, each behind its length (8 bytes, big-endian): the name, the original, the message
that is stored, and its payload. A name that ends in "hidden" stands for a payload with a hidden subject.
"""

import email
import email.policy
import re
import struct
import sys


def records(stream):
    while True:
        record = []
        for _ in range(4):
            size = stream.read(8)
            if not size:
                return
            record.append(stream.read(struct.unpack(">Q", size)[0]))
        yield record


def leaves(message):
    """Type, file name and content of each leaf. In broken messages the default policy raises: then what it raised."""
    found = []
    try:
        for part in message.walk():
            if not part.is_multipart():
                content = (part.get_payload(decode=True) or b"").rstrip(b"\r\n")
                found.append((part.get_content_type(), part.get_filename(), content))
    except Exception as error:
        return repr(error)
    # Python makes one more of a line end behind a message/delivery-status that is not closed.
    while len(found) > 1 and found[-1] == ("text/plain", None, b""):
        found.pop()
    return found


def without_space(text):
    """A text without white space in front of colons: where the subject is hidden, fields have none."""
    return re.sub(rb"(?m)^([!-9;-~]+)[ \t]+:", rb"\1:", text)


def has_cr_lines(message):
    """True if no LF ends the header: programs that know CR as a line end read another message than those that do not."""
    return not re.search(rb"(^|\n)\r?\n", message) and re.search(rb"\r(?!\n)", message)


def is_wrong(message):
    """What is wrong with the form of a stored message."""
    if message["Encrypted-On-Delivery"] is None:
        return "the outer header ends early"
    if message.get_content_type() != "multipart/encrypted" or not message.is_multipart():
        return "it is " + message.get_content_type()
    types = [part.get_content_type() for part in message.get_payload()]
    if types != ["application/pgp-encrypted", "application/octet-stream"]:
        return f"its parts are {types}"
    armor = message.get_payload(1).get_payload().strip()
    if not (armor.startswith("-----BEGIN PGP MESSAGE-----") and armor.endswith("-----END PGP MESSAGE-----")):
        return "its second part is no armor"
    return None


def differs(original, payload, hidden):
    """What is wrong with the content of a payload."""
    if hidden:
        if payload.get_content_type() != "multipart/mixed" or len(payload.get_payload()) != 1:
            return "the payload is not one part"
        payload = payload.get_payload(0)
    expected, found = leaves(original), leaves(payload)
    if expected != found:
        return f"{str(expected)[:600]} became {str(found)[:600]}"
    return None


count = 0
for name, original, stored, payload in records(sys.stdin.buffer):
    count += 1
    name = name.decode()
    for policy in (email.policy.compat32, email.policy.default):
        parse = lambda message: email.message_from_bytes(message, policy=policy)
        wrong = is_wrong(parse(stored))
        if not wrong and has_cr_lines(original):
            wrong = None if [leaf[0] for leaf in leaves(parse(payload))] == ["text/plain"] else "it cannot be read"
        elif not wrong:
            hidden = name.endswith("hidden")
            same = without_space if hidden else bytes
            wrong = differs(parse(same(original)), parse(same(payload)), hidden)
        if wrong:
            print(f"{name}, {type(policy).__name__}: {wrong}")
print(count, "parsed")
