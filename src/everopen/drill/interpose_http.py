"""The ways to misbehave that need to know where an HTTP message ends.

broken: every request is answered with 500, except /healthz: a deploy whose code starts, says that it is well, and fails at
all else. lost: the request is carried out and its answer never comes. twice: each request is carried out twice, and its
answer comes twice, the second one a moment later. slow: an answer waits.
"""

from __future__ import annotations

import asyncio

WAYS = frozenset(("lost", "twice", "slow"))
HEAD_BYTES_MAX = 65536
SECOND_AFTER_S = 0.05
BODY = b'{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"A bad deploy, made by a drill."}'
BROKEN = (
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n\r\n%s"
    % (len(BODY), BODY)
)
WELL = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"status":"ok"}'


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """One whole request or answer; empty at the end. Raises ValueError for one whose length isn't told beforehand."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""
    except asyncio.LimitOverrunError as error:
        raise ValueError("The head of a message is too long.") from error
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
        elif name.strip().lower() == b"transfer-encoding":
            raise ValueError("A message in chunks can't be relayed here.")
    return head + (await reader.readexactly(length) if length else b"")


async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers by itself until the other side closes."""
    while request := await read_message(reader):
        writer.write(WELL if request.split(b" ", 2)[1] == b"/healthz" else BROKEN)
        await writer.drain()


async def relay(
    way: str,
    delay_s: float,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream_reader: asyncio.StreamReader,
    upstream_writer: asyncio.StreamWriter,
) -> None:
    """Requests and answers in turn until either side closes, or an answer was lost."""
    while request := await read_message(reader):
        for _ in range(2 if way == "twice" else 1):
            upstream_writer.write(request)
            await upstream_writer.drain()
            answer = await read_message(upstream_reader)
        if way == "lost":
            return
        if way == "slow":
            await asyncio.sleep(delay_s)
        writer.write(answer)
        await writer.drain()
        if way == "twice":
            await asyncio.sleep(SECOND_AFTER_S)
            writer.write(answer)
            await writer.drain()
