"""Mail in tests: a site that sends it, the links in what was sent, and a small mail server that really listens."""

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SITE = "https://labels.example.org"


def set_up(settings: Any) -> None:
    """A site with a mail server, whose mails are sent before the request ends."""
    settings.HAS_MAIL, settings.MAIL_IN_BACKGROUND = True, False
    settings.DEFAULT_FROM_EMAIL = "Labels <labels@example.org>"
    settings.SITE_URL = SITE


def path_in(text: str) -> str:
    """The path of the link in a mail, which must begin with the site's own address."""
    [path] = re.findall(rf"^{re.escape(SITE)}(/\S+)$", text, re.M)
    return path


@dataclass
class MailServer:
    """Speaks as much SMTP as a client needs, on a port of its own; keeps the mails that it took."""

    refuses: bool = False  # every receiver
    goes_on: threading.Event = field(default_factory=threading.Event)  # while clear, clients wait for its first word
    mails: list[str] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)  # a client is there
    port: int = 0

    def settings(self, settings: Any) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", self.port

    def talk(self, said: Iterator[bytes], say: Any) -> None:
        self.came.set()
        self.goes_on.wait(30)
        say(b"220 here\r\n")
        for line in said:
            word = line[:4].upper().strip()
            if word == b"DATA":
                say(b"354 go on\r\n")
                lines = iter(lambda: next(said), b".\r\n")
                self.mails.append(b"".join(lines).decode())
                say(b"250 taken\r\n")
            elif word == b"RCPT" and self.refuses:
                say(b"550 nobody here\r\n")
            elif word == b"QUIT":
                say(b"221 bye\r\n")
                return
            else:
                say(b"250 ok\r\n")


@contextmanager
def serving(server: MailServer) -> Iterator[MailServer]:
    """The server listens while the body runs."""

    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            server.talk(iter(self.rfile.readline, b""), self.wfile.write)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as listening:
        listening.daemon_threads = True
        server.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.goes_on.set()
            listening.shutdown()
            thread.join()
