"""The operator's door: `/healthz` and `/stats` on a Unix socket, so that a full public port can't hide the state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from everopen.gateway.problems import STATUS_LINES, problem


class Admin:
    """Answers one request per connection."""

    def __init__(self, stats: Callable[[], dict[str, float]]) -> None:
        self._stats = stats

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            async with asyncio.timeout(5.0):
                head = await reader.readuntil(b"\r\n\r\n")
                method, _, rest = head.partition(b" ")
                status, lines, body = self._answer(method, rest.split(b" ", 1)[0])
                if method == b"HEAD":
                    body = b""
                writer.write(
                    b"".join(
                        (
                            STATUS_LINES[status],
                            *lines,
                            b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body),
                            body,
                        )
                    )
                )
                await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    def _answer(self, method: bytes, target: bytes) -> tuple[int, list[bytes], bytes]:
        lines = [b"Content-Type: application/json\r\n"]
        if method not in (b"GET", b"HEAD"):
            return 405, *problem(405, "Only GET is offered here.")
        if target == b"/healthz":
            return 200, lines, b'{"status":"ok"}'
        if target == b"/stats":
            return 200, lines, msgspec.json.encode(self._stats())
        return 404, *problem(404, "Here are /healthz and /stats.")
