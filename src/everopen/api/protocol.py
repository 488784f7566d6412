"""uvicorn's HTTP protocol, with one change: an answer leaves in one write.

ASGI sends head and body as two messages, and uvicorn writes each: two system calls here, and two reads in the gateway, for
an answer of 500 bytes. So the head waits for its body. Everything else (parsing, keep-alive, flow control, shutdown) stays
uvicorn's; a protocol of our own would save a few microseconds more and be another HTTP server to maintain.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle


class JoinedCycle(RequestResponseCycle):
    """A request whose answer's head waits for the body."""

    _start: Any = None

    async def send(self, message: Any) -> None:
        """Takes an ASGI message."""
        start = self._start
        if start is None:
            if self.response_started or self.flow.write_paused or self.scope["method"] == "HEAD":
                await super().send(message)
            else:
                self._start = message
                self.response_started = True
            return
        self._start = None
        if message.get("more_body", False):
            self.response_started = False
            await super().send(start)
            await super().send(message)
            return
        if self.disconnected:
            return
        # From here on as in uvicorn. Our headers are built by us and always name the length, so no check is lost that
        # could find anything.
        content = [STATUS_LINE[start["status"]]]
        for name, value in start["headers"]:
            content += (name, b": ", value, b"\r\n")
        content.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        content.append(message["body"])
        self.transport.write(b"".join(content))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class JoinedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with `JoinedCycle`."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.__class__ = (
            JoinedCycle  # made deep inside a method of uvicorn's that we would else have to copy
        )
        super()._start_asgi_task(cycle, app)
