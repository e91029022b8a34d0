"""The guarded way out, on real sockets: where it may go, how far it got, how much it reads, how long it takes."""

import asyncio
import contextlib
import gzip
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver

from annotate.providers import outbound
from annotate.providers.outbound import AddressRefused, NotSent, OutcomeUnknown, Trip

ROOT = Path(__file__).resolve().parents[2]
HEADERS = outbound.Hidden({"Authorization": "Bearer sk-canary"})


class Canary:
    """A listener on this machine that counts connections, keeps what came, and answers with fixed bytes."""

    def __init__(self, answer: bytes | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.answer, self.tls, self.n_connections, self.received = answer, tls, 0, b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.n_connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self.received += connection.recv(65536)
            if self.answer is not None:
                connection.sendall(self.answer)
                connection.close()
            else:
                time.sleep(30)  # a server that never answers

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def canary():
    listening = Canary(http(b"{}"))
    yield listening
    listening.close()


def http(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


class Says(AbstractResolver):
    """A name server under a stranger's control: a list of answers per question, the last one for all further ones."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.n_questions = list(answers), 0

    async def resolve(self, host, port=0, family=socket.AF_INET):
        self.n_questions += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            {"hostname": host, "host": address, "port": port, "proto": 0, "flags": socket.AI_NUMERICHOST,
             "family": socket.AF_INET6 if ":" in address else socket.AF_INET}
            for address in found
        ]  # fmt: skip

    async def close(self):
        pass


def post(base_url, *, allow_private=False, seconds=5.0, trip=None, **options):
    async def go():
        async with outbound.opened(
            base_url,
            allow_private=allow_private,
            headers=outbound.Hidden({"Authorization": "Bearer sk-canary"}),
            **options,
        ) as server:
            return await server.post("/x", b"{}", total_seconds=seconds, trip=trip)

    return asyncio.run(go())


class TestWhereItMayGo:
    @pytest.mark.parametrize("scheme", ["http", "https"])
    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.0.0.1.",
            "localhost", "localhost.", "LOCALHOST", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
            "0.0.0.0", "0", "[::]", "①②⑦.⓪.⓪.①", "127。0。0。1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
            "%31%32%37.0.0.1",
        ],
    )  # fmt: skip
    def test_no_spelling_of_this_machine_gets_there(self, canary, scheme, host):
        with pytest.raises(NotSent):
            post(f"{scheme}://{host}:{canary.port}/v1")
        assert canary.n_connections == 0

    @pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[fd00:ec2::254]"])
    def test_private_addresses_are_refused_with_a_sentence(self, host):
        with pytest.raises(AddressRefused, match="private address"):
            post(f"https://{host}/v1")

    @pytest.mark.parametrize(
        "base_url",
        [
            "file:///etc/passwd", "gopher://example.org/", "ftp://example.org/", "example.org/v1", "//example.org", "",
            "https://", "https:///v1", "https://user@example.org/v1", "https://user:pass@example.org", "http://@x.org/",
            "https://example.org/v1?x=1", "https://example.org/v1#x", "https://example.org/v1?", "https://ex ample.org",
            "https://example.org\r\nX: y/v1", " https://example.org", "https://example.org\\@evil.org", "https://[::1",
            "https://example.org:99999/v1", "https://example.org:x/v1", "javascript:alert(1)", "http://example.org/v1",
        ],
    )  # fmt: skip
    def test_only_plain_https_addresses_are_addresses(self, base_url):
        assert outbound.base_problem(base_url, allow_private=False)
        with pytest.raises(AddressRefused):
            post(base_url)

    @pytest.mark.parametrize(
        "base_url", ["https://api.example.org/v1", "https://api.example.org:8443", "https://8.8.8.8/v1"]
    )
    def test_it_takes(self, base_url):
        assert outbound.base_problem(base_url, allow_private=False) is None

    @pytest.mark.parametrize(
        "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1"]
    )
    def test_a_name_that_means_a_private_address_is_refused(self, canary, address):
        with pytest.raises(AddressRefused, match="private"):
            post(f"https://innocent.example:{canary.port}/v1", resolver=Says([address]))
        assert canary.n_connections == 0

    def test_one_private_address_among_public_ones_is_enough(self, canary):
        with pytest.raises(AddressRefused):
            post(f"https://innocent.example:{canary.port}", resolver=Says(["8.8.8.8", "127.0.0.1"]))
        assert canary.n_connections == 0

    def test_a_name_is_judged_as_a_whole_before_anybody_connects(self, canary):
        """The first address would do; the second, public one may not be reached by plain http."""
        with pytest.raises(AddressRefused):
            post(f"http://x.example:{canary.port}", allow_private=True, resolver=Says(["127.0.0.1", "8.8.8.8"]))
        assert canary.n_connections == 0

    def test_a_name_is_asked_once_and_what_was_checked_is_used(self, canary):
        """Rebinding: the second answer would have been private, but there is no second question."""
        resolver = Says(["127.0.0.1"], ["10.9.9.9"])
        url = f"http://innocent.example:{canary.port}"
        assert post(url, allow_private=True, resolver=resolver).status == 200
        assert resolver.n_questions == 1

    def test_rebinding_to_a_private_address_meets_the_check_again(self, canary):
        async def go():
            resolver = Says(["192.0.2.255"], ["127.0.0.1"])
            async with outbound.opened(
                f"https://x.example:{canary.port}", allow_private=False, headers=outbound.Hidden(), resolver=resolver
            ) as server:
                for _ in range(2):
                    with pytest.raises(AddressRefused):
                        await server.post("/", b"{}", total_seconds=2)

        asyncio.run(go())
        assert canary.n_connections == 0

    def test_the_last_check_sees_each_single_address(self, canary):
        """Even with a resolver that is not checked: the socket itself is made only for an allowed address."""
        gate = outbound._Gate(allow_private=False, is_encrypted=True)
        with pytest.raises(AddressRefused):
            gate.socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", canary.port)))

    def test_plain_http_to_a_public_address_is_refused_even_where_private_ones_are_allowed(self):
        with pytest.raises(AddressRefused, match="https only"):
            post("http://8.8.8.8/v1", allow_private=True)
        with pytest.raises(AddressRefused, match="https only"):
            post("http://llm.example/v1", allow_private=True, resolver=Says(["8.8.8.8"]))

    def test_allowed_private_addresses_are_reached(self, canary):
        assert post(f"http://127.0.0.1:{canary.port}/v1", allow_private=True).body == b"{}"
        assert canary.received.startswith(b"POST /v1/x HTTP/1.1")

    @pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "224.0.0.1", "255.255.255.255"])
    def test_addresses_of_nobody_are_never_reached(self, canary, host):
        with pytest.raises(AddressRefused, match="no address of a server"):
            post(f"http://{host}:{canary.port}", allow_private=True)
        assert canary.n_connections == 0

    def test_proxies_of_the_environment_are_ignored(self, canary, monkeypatch):
        proxy = Canary(http(b"{}"))
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        post(f"http://127.0.0.1:{canary.port}", allow_private=True)
        proxy.close()
        assert (canary.n_connections, proxy.n_connections) == (1, 0)


class TestRedirects:
    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
    def test_none_is_followed(self, status):
        target = Canary(http(b"{}"))
        first = Canary(http(b"", status, f"Location: http://127.0.0.1:{target.port}/\r\n"))
        response = post(f"http://127.0.0.1:{first.port}", allow_private=True)
        first.close(), target.close()
        assert response.status == int(status[:3])
        assert target.n_connections == 0


class TestHowFarItGot:
    def test_a_closed_port_got_nothing(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(NotSent, match="does not accept"):
            post(f"http://127.0.0.1:{port}", allow_private=True)

    def test_an_unknown_name_got_nothing(self):
        with pytest.raises(NotSent, match="name could not be resolved"):
            post("https://nobody.invalid/v1")

    def test_a_server_without_tls_got_nothing(self, canary):
        with pytest.raises(NotSent):
            post(f"https://127.0.0.1:{canary.port}", allow_private=True)
        assert b"POST" not in canary.received

    @pytest.mark.skipif(not shutil.which("openssl"), reason="makes a certificate with openssl")
    def test_a_certificate_that_nobody_signed_got_nothing(self, tmp_path):
        certificate, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
        command = (
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {secret} -out {certificate}"
        )
        subprocess.run(command.split(), check=True, capture_output=True)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, secret)
        listening = Canary(http(b"{}"), tls=server)
        with pytest.raises(NotSent, match="certificate"):
            post(f"https://127.0.0.1:{listening.port}", allow_private=True)
        assert listening.received == b""
        trusting = ssl.create_default_context(cafile=certificate)
        trusting.check_hostname = False
        assert post(f"https://127.0.0.1:{listening.port}", allow_private=True, tls=trusting).status == 200
        listening.close()

    def test_silence_after_sending_leaves_it_unknown(self):
        silent = Canary(None)
        trip = Trip()
        with pytest.raises(OutcomeUnknown, match="did not answer within"):
            post(f"http://127.0.0.1:{silent.port}", allow_private=True, seconds=0.5, trip=trip)
        silent.close()
        assert trip.is_connected
        assert b"POST" in silent.received

    @pytest.mark.parametrize(
        "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", b"garbage\r\n\r\n", b"HTTP/1.1 2"]
    )
    def test_a_broken_answer_leaves_it_unknown(self, answer):
        broken = Canary(answer)
        with pytest.raises(OutcomeUnknown):
            post(f"http://127.0.0.1:{broken.port}", allow_private=True)
        broken.close()

    def test_a_name_server_that_hangs_got_nothing_and_ends_in_time(self):
        class Hangs(Says):
            async def resolve(self, host, port=0, family=socket.AF_INET):
                await asyncio.sleep(60)

        started = time.monotonic()
        with pytest.raises(NotSent, match="within the time"):
            post("https://slow.example", seconds=0.3, resolver=Hangs([]))
        assert time.monotonic() - started < 2

    def test_a_kept_connection_counts_as_one_in_hand(self):
        """The second request over the same connection has no new one to note."""

        async def go(port):
            trips = [Trip(), Trip()]
            async with outbound.opened(
                f"http://127.0.0.1:{port}", allow_private=True, headers=outbound.Hidden()
            ) as server:
                for trip in trips:
                    with contextlib.suppress(OutcomeUnknown):
                        await server.post("/", b"{}", total_seconds=0.5, trip=trip)
            return trips

        class Once(Canary):
            def _talk(self, connection):
                connection.recv(65536)
                connection.sendall(http(b"{}"))
                connection.recv(65536)  # the second is read and never answered
                time.sleep(5)

        once = Once()
        trips = asyncio.run(go(once.port))
        once.close()
        assert once.n_connections == 1
        assert all(trip.is_connected for trip in trips)


class TestHowMuchAndHowLong:
    def test_a_body_up_to_the_limit_is_whole(self):
        listening = Canary(http(b"x" * outbound.MAX_BYTES))
        assert len(post(f"http://127.0.0.1:{listening.port}", allow_private=True).body) == outbound.MAX_BYTES
        listening.close()

    @pytest.mark.parametrize("claimed", [f"Content-Length: {10**10}", "Connection: close"])
    def test_of_a_larger_body_nothing_is_kept(self, claimed):
        listening = Canary(f"HTTP/1.1 200 OK\r\n{claimed}\r\n\r\n".encode() + b"x" * 3_000_000)
        assert post(f"http://127.0.0.1:{listening.port}", allow_private=True).body is None
        listening.close()

    def test_a_small_body_that_unpacks_to_a_huge_one_stays_small(self):
        body = gzip.compress(b" " * 300_000_000)
        listening = Canary(http(body, headers="Content-Encoding: gzip\r\n"))
        tracemalloc.start()
        try:
            assert post(f"http://127.0.0.1:{listening.port}", allow_private=True).body is None
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()
            listening.close()

    def test_dripping_does_not_stretch_the_deadline(self):
        class Drips(Canary):
            def _talk(self, connection):
                with contextlib.suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                    for _ in range(1000):
                        connection.sendall(b"x")
                        time.sleep(0.05)

        dripping, started = Drips(), time.monotonic()
        with pytest.raises(OutcomeUnknown):
            post(f"http://127.0.0.1:{dripping.port}", allow_private=True, seconds=0.6)
        dripping.close()
        assert 0.5 < time.monotonic() - started < 2


class TestSecrets:
    @pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n"])
    def test_errors_hold_no_header_and_no_other_exception(self, answer):
        broken = Canary(answer)
        with pytest.raises(OutcomeUnknown) as caught:
            post(f"http://127.0.0.1:{broken.port}", allow_private=True)
        broken.close()
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None
        assert "canary" not in repr(caught.value)

    def test_a_response_shows_neither_body_nor_headers(self, canary):
        assert repr(post(f"http://127.0.0.1:{canary.port}", allow_private=True)) == "Response(status=200)"


def test_nothing_else_in_the_product_speaks_http_to_the_outside():
    """One door: whoever needs another server goes through outbound.py."""
    client = re.compile(r"^\s*(?:import|from)\s+(aiohttp|httpx|requests|urllib\.request|urllib3|http\.client)\b", re.M)
    found = {
        str(path.relative_to(ROOT))
        for folder in ("annotate", "models_ml", "labelapp")
        for path in (ROOT / folder).rglob("*.py")
        if client.search(path.read_text(encoding="utf-8"))
    }
    # serve asks its own server whether it is up, on the loopback address it just bound
    assert found <= {"annotate/providers/outbound.py", "annotate/management/commands/serve.py"}
