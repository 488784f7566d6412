"""Answers that go on: pieces are sent as they come, until they end or the client is gone.

Sending waits while the client reads slowly (uvicorn's flow control), so a stream is never ahead of its reader by more than
a buffer. A client that hangs up is noticed at once, not at the next piece."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from everopen.api.bodies import Receive, Send

log = logging.getLogger(__name__)


async def send_pieces(pieces: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
    """Sends the pieces as the body of an answer whose head is out already. Ends with the pieces or with the client."""
    gone = asyncio.ensure_future(_until_gone(receive))
    step: asyncio.Future[bytes] | None = None
    try:
        while True:
            step = asyncio.ensure_future(anext(pieces))
            await asyncio.wait({step, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                return
            try:
                piece = step.result()
            except StopAsyncIteration:
                break
            except Exception:
                log.exception("A stream broke off; its follower comes again.")
                break
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        for task in (gone, step):
            if task is not None and not task.done():
                task.cancel()
        await asyncio.gather(gone, *([step] if step is not None else []), return_exceptions=True)
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


async def _until_gone(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
