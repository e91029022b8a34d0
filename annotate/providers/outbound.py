"""Decides which HTTP requests may leave this machine: to checked addresses, within a deadline and a size.

These rules hold, whoever registered the server's address:

- The address is checked when connecting, and the connection goes to the address that was checked, so a DNS name
  cannot resolve to another address in between. A name is refused if any of its addresses is.
- Public addresses are reached by https only; plain http would show the key on the way. Private ones (this machine,
  link, site, cloud metadata) need allow_private and may use plain http.
- Redirects are never followed, so the key goes to one host only. Proxies, .netrc and cookies are ignored.
- One deadline covers DNS, connecting, sending and the whole answer, so a slow stream of bytes does not extend it.
- Ports are not restricted: over https the client speaks first, and only owners of the site allow private addresses.

No error contains a header, the key, or what the server wrote.
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
from django.utils.translation import gettext as _

from annotate.errors import GoldloopError
from annotate.providers.addresses import Reach, reach_of

MAX_BYTES = 1_000_000  # of one answer, unpacked; an answer with 20 alternatives has about 2,000
CONNECT_SECONDS = 10.0
_KEEP_SECONDS = 3.0  # shorter than on servers (uvicorn: 5), so that a kept connection is rarely closed when we write
_BLOCK = 1 << 16


class OutboundError(GoldloopError):
    """No usable response came back."""


class NotSent(OutboundError):
    """Provably no byte of the request was sent: DNS, connecting or TLS failed."""


class AddressRefused(NotSent):
    """The server's address may not be contacted."""


class OutcomeUnknown(OutboundError):
    """A connection was made, so the server may have got the request and worked on it."""


class ConnectionBroken(OutcomeUnknown):
    """The server, or something on the way to it, ended the connection before the answer was complete."""


@dataclass(frozen=True)
class Response:
    """The server's response. `body` is None if it was larger than MAX_BYTES."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


class Hidden(dict[str, str]):
    """Headers whose repr hides them, so that a traceback with local variables does not show the key."""

    def __repr__(self) -> str:
        return "{hidden}"


class Trip:
    """How far one request got: once `is_connected` is set, the server may have got it. It is never unset."""

    is_connected = False


def base_problem(base_url: str, *, allow_private: bool) -> str | None:
    """Why `base_url` cannot be a server's address, as the end of a sentence; None if it can."""
    try:
        url = urlsplit(base_url)
        host, _port = url.hostname, url.port  # reading the port checks it
    except ValueError:
        return _("is not a web address")
    if base_url != base_url.strip() or re.search(r"[\x00-\x20\x7f\\]", base_url):
        return _("holds blanks or control characters")
    if url.scheme not in ("http", "https") or not host:
        return _("does not begin with https://host")
    if url.username is not None or url.password is not None:
        return _("holds a user name or password")
    if url.query or url.fragment or base_url.endswith(("?", "#")):
        return _("has something after ? or #")
    if url.scheme == "http" and not allow_private:
        return _("must begin with https://; plain http is for private addresses, where these are allowed")
    return _literal_problem(host, url.scheme, allow_private)


def _literal_problem(host: str, scheme: str, allow_private: bool) -> str | None:
    """Judge a numeric address at once, for the person who types it; it is judged again when connecting."""
    try:
        return _refusal(host, allow_private=allow_private, is_encrypted=scheme == "https")
    except ValueError:
        return None  # a name, or a numeric spelling that only the resolver understands


def _refusal(address: str, *, allow_private: bool, is_encrypted: bool) -> str | None:
    reach = reach_of(address)
    if reach is Reach.NOBODY:
        return _("is no address of a server")
    if reach is Reach.PRIVATE and not allow_private:
        return _("is a private address; a site owner can allow those")
    if reach is Reach.PUBLIC and not is_encrypted:
        return _("is a public address, which is reached by https only")
    return None


@dataclass(frozen=True)
class _Gate:
    allow_private: bool
    is_encrypted: bool

    def check(self, address: str) -> None:
        problem = _refusal(address, allow_private=self.allow_private, is_encrypted=self.is_encrypted)
        if problem:
            raise AddressRefused(
                _("The server was not contacted: %(address)s %(problem)s.") % {"address": address, "problem": problem}
            )

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Check the very address that a connection is about to use (in `info`), and make its socket."""
        family, kind, protocol, _, place = info
        self.check(place[0])
        return socket.socket(family, kind, protocol)


class _CheckedResolver(AbstractResolver):
    """A resolver whose addresses are checked before they are returned."""

    def __init__(self, gate: _Gate, inner: AbstractResolver) -> None:
        self._gate, self._inner = gate, inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self._inner.resolve(host, port, family)
        for address in addresses:
            self._gate.check(address["host"])
        return addresses

    async def close(self) -> None:
        await self._inner.close()


class Outbound:
    """Connections to one server, used inside one event loop; `opened` makes and closes them."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession) -> None:
        self._base_url, self._session = base_url.rstrip("/"), session

    async def post(self, path: str, body: bytes, *, total_seconds: float, trip: Trip | None = None) -> Response:
        """Send `body` (JSON) once and read the response, whatever its status.

        Raises NotSent or OutcomeUnknown, without a cause, since other exceptions can contain our headers. May be
        cancelled at any time; `trip` then tells how far the request got.
        """
        trip = trip or Trip()
        answer = await self._tried(path, body, total_seconds, trip)
        if isinstance(answer, OutboundError):
            raise answer  # outside any except clause, so that it has no __context__
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
            if trip.is_connected:
                return ConnectionBroken(_("The server broke the connection off."))
            return NotSent(_why_not_connected(error))
        except (OSError, ValueError, UnicodeError) as error:  # also for names that cannot be a host's
            return _by_distance(trip, "The connection failed.", f"No connection to the server: {type(error).__name__}.")


def _by_distance(trip: Trip, unknown: str, not_sent: str) -> OutboundError:
    return OutcomeUnknown(unknown) if trip.is_connected else NotSent(not_sent)


def _why_not_connected(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _("The server's name could not be resolved.")
    if isinstance(error, aiohttp.ClientSSLError):
        return _("No encrypted connection: the server's certificate or its TLS is not in order.")
    if isinstance(error, aiohttp.InvalidURL):
        return _("The server's address cannot be used.")
    return _("The server does not accept connections.")


async def _limited(response: aiohttp.ClientResponse) -> bytes | None:
    """The unpacked body; None if it is larger than MAX_BYTES, and then the rest is not read."""
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
    """Connections to this server with these headers; AddressRefused if its address is refused by its form.

    `resolver` and `tls` are for tests; certificates are always checked, by default against the system's.
    """
    if problem := base_problem(base_url, allow_private=allow_private):
        raise AddressRefused(_("The server's address %(problem)s.") % {"problem": problem})
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
    """Sets `Trip.is_connected` once a connection, TLS included, is made or reused; nothing is sent before that."""

    async def note(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
        context.trace_request_ctx.is_connected = True

    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(note)
    config.on_connection_reuseconn.append(note)
    return config
