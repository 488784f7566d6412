"""Sends one webhook and says what came of it. The network is not to be trusted, in either direction.

Whoever may register a URL must not reach through the shop what only the shop can reach (a database's port, a cloud's
metadata service). So the name is looked up here, each address is judged, and the connection goes to the very address that
was judged: a name that answers differently the second time gains nothing. Redirects are not followed for the same reason.

httpcore (the engine under httpx) is used directly, because the judging backend is part of its public interface."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio._backends._asyncio  # noqa: F401  # chosen by name at the first connection, when nothing can be imported any more
import certifi
import httpcore

from everopen import __version__
from everopen.trading.events.settings import EventsSettings

ANSWER_BYTES_MAX = 65_536


class Sent(NamedTuple):
    """What came of an attempt. `gone`: the receiver wants nothing more (410)."""

    ok: bool
    problem: str = ""
    gone: bool = False


@cache
def tls_context() -> ssl.SSLContext:
    """Verifies receivers' certificates. Made while the installation can still be read (see `api.main.run`)."""
    return ssl.create_default_context(cafile=certifi.where())


def check_url(url: str, settings: EventsSettings) -> str:
    """What is wrong with a subscriber's URL, as a sentence; empty for a good one. (Where its name leads is judged at each
    connection, not here: names change.)"""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "It can't be read as a URL."
    if any(ord(character) <= 32 or ord(character) > 126 for character in url):
        return "It holds characters that a URL can't have; write them percent-encoded."
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "It must be an absolute https:// URL."
    if parts.scheme == "http" and not settings.private_addresses:
        return "It must be https://: what is told of orders may not travel in the open."
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "It must hold neither a password nor a fragment; the signature is what proves who sends."
    if port == 0:
        return "Port 0 is none."
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return ""
    return "" if settings.private_addresses or is_public(address) else "It is a private address."


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address belongs to the internet at large. An IPv4 address in an IPv6 coat is judged as what it is."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class _Judging(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that may be reached."""

    def __init__(self, private_addresses: bool) -> None:
        self._private = private_addresses
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"The name {host} leads nowhere ({error}).") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._private:
            private = [one for one in addresses if not is_public(ipaddress.ip_address(one.partition("%")[0]))]
            if private:
                raise httpcore.ConnectError(f"{host} leads to the private address {private[0]}.")
        problem: Exception = httpcore.ConnectError(f"The name {host} leads nowhere.")
        for address in addresses[:3]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("Subscribers have no Unix sockets.")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Sender:
    """Kept-alive connections to all subscribers of one worker."""

    def __init__(self, settings: EventsSettings) -> None:
        self._settings = settings
        # No limit for the whole: each subscriber has its own, and a slow one must not use up the others'.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls_context(),
            max_connections=None,
            max_keepalive_connections=256,
            keepalive_expiry=30.0,
            network_backend=_Judging(settings.private_addresses),
        )

    async def send(self, url: str, body: bytes, headers: list[tuple[bytes, bytes]]) -> Sent:
        """One attempt, within the time limit. Never raises for what the receiver does."""
        timeout_s = self._settings.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                async with self._pool.stream(
                    "POST",
                    url,
                    headers=[
                        (b"host", _host(url)),
                        (b"content-type", b"application/json"),
                        (b"content-length", b"%d" % len(body)),
                        (b"user-agent", f"Everopen/{__version__}".encode()),
                        (b"accept", b"*/*"),
                        *headers,
                    ],
                    content=body,
                ) as answer:
                    status = answer.status
                    await _drop_body(answer)
        except TimeoutError:
            return Sent(False, f"No answer within {timeout_s:g} s.")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            return Sent(False, str(error) or type(error).__name__)
        except Exception as error:  # whatever it is, it is this subscriber's and must not stop the others'
            return Sent(False, f"{type(error).__name__}: {error}")
        if 200 <= status < 300:
            return Sent(True)
        return Sent(False, f"It answered {status}.", gone=status == 410)

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.aclose()


async def _drop_body(answer: httpcore.Response) -> None:
    """Reads the answer to its end so that the connection can be used again; a long one is cut."""
    read = 0
    async for part in answer.aiter_stream():
        read += len(part)
        if read > ANSWER_BYTES_MAX:
            return


def _host(url: str) -> bytes:
    parts = urlsplit(url)
    host = (parts.hostname or "").encode("ascii", "ignore")
    if b":" in host:
        host = b"[" + host + b"]"
    default = 443 if parts.scheme == "https" else 80
    return host if parts.port in (None, default) else b"%s:%d" % (host, parts.port or default)
