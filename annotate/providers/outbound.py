"""The one way out over HTTP: to one server, at addresses that were checked, within a deadline and a size.

What holds, whoever gave the address:

- The address is checked when the connection is made, and the connection goes to the very address that was
  checked: a name cannot mean one thing while it is checked and another while it is used. A name is refused as a
  whole if any of its addresses is.
- Only https reaches public addresses. Private ones (this machine, link, site, cloud metadata) need allow_private;
  they may be plain http. Plain http to a public address is always refused: it would show the key to the way there.
- Redirects are never followed, so the key goes to one host only. Proxies, .netrc and cookies are ignored.
- One deadline spans name, connection, sending and the whole answer, so dripping does not stretch it.
- Ports are not restricted: https speaks first, and whoever may allow private addresses owns the site.

No error carries a header, the key, or what the server wrote.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from annotate.errors import GoldloopError
from annotate.providers.addresses import Reach, reach_of

MAX_BYTES = 1_000_000  # of one answer, unpacked; an answer with 20 alternatives has about 2,000
CONNECT_SECONDS = 10.0
_KEEP_SECONDS = 3.0  # less than servers do (uvicorn: 5), so that we rarely write to a connection that just closed
_BLOCK = 1 << 16


class OutboundError(GoldloopError):
    """Nothing usable came back."""


class NotSent(OutboundError):
    """Provably no byte of the request went out: name, connection or TLS failed."""


class AddressRefused(NotSent):
    """The address may not be reached from here."""


class OutcomeUnknown(OutboundError):
    """A connection was there; the server may have got the request and worked on it."""


@dataclass(frozen=True)
class Response:
    """What the server answered. The body is None where it was larger than MAX_BYTES."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


class Hidden(dict[str, str]):
    """Headers that no repr shows, so that no trace with local variables does."""

    def __repr__(self) -> str:
        return "{hidden}"


class Trip:
    """How far one request got. `is_connected` never goes back: from then on the outcome can be unknown."""

    is_connected = False


def base_problem(base_url: str, *, allow_private: bool) -> str | None:
    """Why this cannot be the address of a server, as the end of a sentence; None where it can."""
    try:
        url = urlsplit(base_url)
        host, _ = url.hostname, url.port  # reading the port checks it
    except ValueError:
        return "is not a web address"
    if base_url != base_url.strip() or re.search(r"[\x00-\x20\x7f\\]", base_url):
        return "holds blanks or control characters"
    if url.scheme not in ("http", "https") or not host:
        return "does not begin with https://host"
    if url.username is not None or url.password is not None:
        return "holds a user name or password"
    if url.query or url.fragment or base_url.endswith(("?", "#")):
        return "has something after ? or #"
    if url.scheme == "http" and not allow_private:
        return "must begin with https://; plain http is for private addresses, where these are allowed"
    return _literal_problem(host, url.scheme, allow_private)


def _literal_problem(host: str, scheme: str, allow_private: bool) -> str | None:
    """An address in numbers is judged at once, for the person who types it; when connecting it is judged again."""
    try:
        return _refusal(host, allow_private=allow_private, is_encrypted=scheme == "https")
    except ValueError:
        return None  # a name, or numbers in a spelling that only the resolver reads


def _refusal(address: str, *, allow_private: bool, is_encrypted: bool) -> str | None:
    reach = reach_of(address)
    if reach is Reach.NOBODY:
        return "is no address of a server"
    if reach is Reach.PRIVATE and not allow_private:
        return "is a private address; a site owner can allow those"
    if reach is Reach.PUBLIC and not is_encrypted:
        return "is a public address, which is reached by https only"
    return None


@dataclass(frozen=True)
class _Gate:
    allow_private: bool
    is_encrypted: bool

    def check(self, address: str) -> None:
        problem = _refusal(address, allow_private=self.allow_private, is_encrypted=self.is_encrypted)
        if problem:
            raise AddressRefused(f"The server was not contacted: {address} {problem}.")

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """The last check, for each single connection: `info` holds the address about to be used."""
        family, kind, protocol, _, place = info
        self.check(place[0])
        return socket.socket(family, kind, protocol)


class _CheckedResolver(AbstractResolver):
    """The system's resolver, or the one given; what it says is checked before anybody connects."""

    def __init__(self, gate: _Gate, inner: AbstractResolver) -> None:
        self._gate, self._inner = gate, inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for place in found:
            self._gate.check(place["host"])
        return found

    async def close(self) -> None:
        await self._inner.close()


class Outbound:
    """Connections to one server. Used inside one event loop; `opened` makes and closes it."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession) -> None:
        self._base_url, self._session = base_url.rstrip("/"), session

    async def post(self, path: str, body: bytes, *, total_seconds: float, trip: Trip | None = None) -> Response:
        """Send `body` (JSON) once and read the answer, whatever its status.

        Raises NotSent or OutcomeUnknown; they hold no other exception, since those can hold our headers.
        Cancelling is safe at any time; `trip` then tells how far it got.
        """
        trip = trip or Trip()
        answer = await self._tried(path, body, total_seconds, trip)
        if isinstance(answer, OutboundError):
            raise answer  # outside of any except clause: no context
        return answer

    async def _tried(self, path: str, body: bytes, total_seconds: float, trip: Trip) -> Response | OutboundError:
        try:
            async with (
                asyncio.timeout(total_seconds),
                self._session.post(
                    self._base_url + path, data=body, allow_redirects=False, trace_request_ctx=trip
                ) as response,
            ):
                return Response(response.status, response.headers, await _limited(response))
        except AddressRefused as error:
            return AddressRefused(str(error))
        except TimeoutError:
            what = f"The server did not answer within {total_seconds:g} s."
            return _by_distance(trip, what, "No connection to the server within the time allowed.")
        except aiohttp.ClientError as error:
            return _by_distance(trip, "The server broke the connection off.", _why_not_connected(error))
        except (OSError, ValueError, UnicodeError) as error:  # among them names that cannot be a host
            return _by_distance(trip, "The connection failed.", f"No connection to the server: {type(error).__name__}.")


def _by_distance(trip: Trip, unknown: str, not_sent: str) -> OutboundError:
    return OutcomeUnknown(unknown) if trip.is_connected else NotSent(not_sent)


def _why_not_connected(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "The server's name could not be resolved."
    if isinstance(error, aiohttp.ClientSSLError):
        return "No encrypted connection: the server's certificate or its TLS is not in order."
    if isinstance(error, aiohttp.InvalidURL):
        return "The server's address cannot be used."
    return "The server does not accept connections."


async def _limited(response: aiohttp.ClientResponse) -> bytes | None:
    """The unpacked body; None where it is too large, and the rest stays unread."""
    body = bytearray()
    async for block in response.content.iter_chunked(_BLOCK):
        body += block
        if len(body) > MAX_BYTES:
            response.close()
            return None
    return bytes(body)


@asynccontextmanager
async def opened(
    base_url: str,
    *,
    allow_private: bool,
    headers: Hidden,
    max_connections: int = 1,
    resolver: AbstractResolver | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Outbound]:
    """Connections to this server with these headers; AddressRefused says why not, where that is seen at once.

    `resolver` and `tls` are for tests; the certificate is always checked, by default against the system's.
    """
    if problem := base_problem(base_url, allow_private=allow_private):
        raise AddressRefused(f"The server's address {problem}.")
    gate = _Gate(allow_private, base_url.startswith("https:"))
    connector = aiohttp.TCPConnector(
        limit=max_connections,
        resolver=_CheckedResolver(gate, resolver or aiohttp.ThreadedResolver()),
        socket_factory=gate.socket,
        keepalive_timeout=_KEEP_SECONDS,
        ssl=tls or True,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        headers={**headers, "Content-Type": "application/json", "Accept": "application/json"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[_marking()],
    ) as session:
        yield Outbound(base_url, session)


def _marking() -> aiohttp.TraceConfig:
    """Notes on the Trip when a connection, TLS included, is in hand: nothing is sent before."""

    async def note(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
        context.trace_request_ctx.is_connected = True

    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(note)
    config.on_connection_reuseconn.append(note)
    return config
