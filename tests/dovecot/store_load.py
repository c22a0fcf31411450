# Mail programs that save, copy and remove mail at once: each has a connection, and knows what has become of its messages.
# Whatever they do is random, and the same in each run. Appended behind tests/support/imap.py; COMMANDS and SHARED are
# defined before it.
import base64, random, re, threading

MAILBOXES = ["Sent", "Archive", "Plain", "Clear"]
CONNECTIONS = 4


def uids(text):
    """The numbers of a set such as 1:3,7."""
    ranges = [[int(n) for n in part.split(b":")] for part in text.split(b",")]
    return [n for r in ranges for n in range(r[0], r[-1] + 1)]


class Client(threading.Thread):
    def __init__(self, number):
        super().__init__()
        self.random = random.Random(number)
        self.imap = Session(sys.argv[1])
        self.imap.login(sys.argv[2], "test")
        self.number = number * 1000000
        self.mailboxes = [name if SHARED else name + str(number) for name in MAILBOXES]
        for mailbox in self.mailboxes:
            self.imap.create(mailbox)
        # (mailbox, UID) -> (number of the message, is it a draft?)
        self.messages = {}
        self.failed = None

    def run(self):
        try:
            for _ in range(COMMANDS // CONNECTIONS):
                what = [self.append] * 4 + [self.copy] * 2 + [self.move, self.store, self.fetch, self.expunge]
                self.random.choice(what)()
        except BaseException as error:
            self.failed = error

    def some(self, most=3):
        """A mailbox that is selected now, and some of this client's messages in it."""
        mailbox = self.random.choice(self.mailboxes)
        good(self.imap.select(mailbox))
        mine = [uid for where, uid in self.messages if where == mailbox]
        return mailbox, self.random.sample(mine, min(most, len(mine)))

    def append(self):
        mailbox, self.number = self.random.choice(self.mailboxes), self.number + 1
        flags = [flag for flag in ["\\Seen", "\\Flagged", "\\Draft", "$Label"] if self.random.random() < 0.2]
        lines = self.random.choice([1] * 9 + [200, 6000])
        head = "From: me@domain.com\r\nSubject: number %d\r\n\r\n" % self.number
        body = (head + "The nightingale sings.\r\n" * lines).encode()
        answer = good(self.imap.append(mailbox, "(%s)" % " ".join(flags), None, body))[0]
        uid = int(re.match(rb"\[APPENDUID \d+ (\d+)\]", answer)[1])
        self.messages[mailbox, uid] = self.number, "\\Draft" in flags

    def copy(self, command="COPY"):
        source, chosen = self.some()
        if not chosen:
            return []
        target = self.random.choice([mailbox for mailbox in self.mailboxes if mailbox != source])
        good(self.imap.uid(command, ",".join(map(str, chosen)), target))
        _, old, new = self.imap.response("COPYUID")[1][-1].split()
        pairs = list(zip(uids(old), uids(new)))
        assert sorted(pair[0] for pair in pairs) == sorted(chosen), (chosen, pairs)
        for old, new in pairs:
            self.messages[target, new] = self.messages[source, old]
        return [(source, uid) for uid in chosen]

    def move(self):
        for moved in self.copy("MOVE"):
            del self.messages[moved]

    def store(self):
        _, chosen = self.some()
        if chosen:
            change = self.random.choice(["+FLAGS", "-FLAGS"])
            good(self.imap.uid("STORE", ",".join(map(str, chosen)), change, "(\\Answered $Done)"))

    def expunge(self):
        mailbox, chosen = self.some(12)
        if chosen:
            good(self.imap.uid("STORE", ",".join(map(str, chosen)), "+FLAGS", "(\\Deleted)"))
            good(self.imap.uid("EXPUNGE", ",".join(map(str, chosen))))
        for uid in chosen:
            del self.messages[mailbox, uid]

    def fetch(self):
        mailbox, chosen = self.some(1)
        for uid in chosen:
            data = good(self.imap.uid("FETCH", str(uid), "(FLAGS BODY.PEEK[])"))
            assert b"Subject: number %d\r\n" % self.messages[mailbox, uid][0] in data[0][1], (mailbox, uid, data)


clients = [Client(number) for number in range(1, CONNECTIONS + 1)]
for client in clients:
    client.start()
for client in clients:
    client.join()
for client in clients:
    if client.failed:
        raise client.failed

# What is there now is what the clients know of. A line for each: mailbox, number, is it a draft, is it saved, the message.
known, mailboxes = {}, set()
for client in clients:
    assert not known.keys() & client.messages.keys()
    known.update(client.messages)
    mailboxes.update(client.mailboxes)
for mailbox in sorted(mailboxes):
    count = int(good(imap.select(mailbox, readonly=True))[0])
    expected = sorted(uid for where, uid in known if where == mailbox)
    found = [int(uid) for uid in good(imap.uid("SEARCH", "ALL"))[0].split()]
    assert found == expected, (mailbox, sorted(set(found) ^ set(expected)), found, expected)
    assert count == len(found), (mailbox, count)
    for uid in expected:
        (info, content), _ = good(imap.uid("FETCH", str(uid), "(FLAGS BODY.PEEK[])"))
        number, draft = known[mailbox, uid]
        assert (b"\\Draft" in info) == draft, (mailbox, uid, info)
        print(mailbox, number, int(draft), int(mailbox.startswith(("Sent", "Archive"))), base64.b64encode(content).decode())
