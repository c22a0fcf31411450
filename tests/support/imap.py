# An IMAP session over a unix socket: python3 -c "..." SOCKET USER
import imaplib, socket, sys


class Session(imaplib.IMAP4):
    def _create_socket(self, timeout):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(self.host)
        return connection


imap = Session(sys.argv[1])
imap.login(sys.argv[2], "test")


def good(answer):
    """The data of an answer, which must be OK."""
    status, data = answer
    assert status == "OK", answer
    return data
