"""A small HTTP backend for the gateway's tests, run as a process: `backend.py SOCKET NAME`.

/echo answers what it received; /sleep/MS answers later; /big/BYTES and /chunks/COUNT answer long; /cut dies in the
middle of an answer; /lose notes the key and closes without an answer when no backend of the folder has noted it before; /bad/NAME answers 500 in the backend of that name, /poison in each; /decline asks for another worker; /none closes without an answer; /eof ends its answer by closing.
Every keyed request that was carried out is noted in the file NAME beside the socket.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import httptools
import uvloop


class Server(asyncio.Protocol):
    def __init__(self, name: str) -> None:
        self.name = name
        self.fresh()

    def fresh(self) -> None:
        self.url = b""
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        method, url, headers, body = (
            self.parser.get_method().decode(),
            self.url.decode(),
            self.headers,
            self.body,
        )
        self.fresh()
        asyncio.get_running_loop().create_task(self.respond(method, url, headers, body))

    def reply(self, body: bytes, status: str = "200 OK", extra: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nServer: {self.name}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)

    async def respond(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> None:
        _, kind, *rest = url.split("?")[0].removeprefix("/api").split("/")
        amount = int(rest[0]) if rest and rest[0].isdigit() else 0
        write = self.transport.write
        if kind == "sleep":
            await asyncio.sleep(amount / 1000)
        if kind == "poison" or (kind == "bad" and rest[0] == self.name):
            self.reply(b"failed", "500 Internal Server Error")
        elif kind == "big":
            self.reply(b"x" * amount)
        elif kind == "chunks":
            write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n")
            for number in range(amount):
                write(b"a\r\n%010d\r\n" % number)
                await asyncio.sleep(0.001)
            write(b"0\r\nX-Trailer: 1\r\n\r\n")
        elif kind == "cut":
            write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome")
            await asyncio.sleep(0.05)
            self.transport.close()
        elif kind == "eof":
            write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
            self.transport.close()
        elif kind == "lose":
            key = dict(headers)["idempotency-key"]
            noted = [key in notes.read_text().split() for notes in Path(sys.argv[1]).parent.glob("*.lost")]
            with open(f"{sys.argv[1]}.lost", "a") as notes:
                notes.write(key + "\n")
            if any(noted):
                self.reply(key.encode())
            else:
                self.transport.close()
        elif kind == "dated":
            self.reply(b"", extra="Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
        elif kind == "none":
            self.transport.close()
        elif kind == "garbage":
            write(b"SSH-2.0-nonsense\r\n\r\n")
        elif kind == "early":
            write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            self.reply(b"late")
        elif kind == "decline" and self.name == rest[0]:
            self.reply(b"no", "503 Service Unavailable", "X-Everopen-Retry: 1\r\n")
        elif kind == "empty":
            write(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif kind == "headonly":
            write(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
        else:
            key = dict(headers).get("idempotency-key")
            if key:
                with open(f"{sys.argv[1]}.keys", "a") as notes:
                    notes.write(key + "\n")
            seen = {
                "name": self.name,
                "pid": os.getpid(),
                "method": method,
                "url": url,
                "headers": headers,
                "body": body.decode("latin-1"),
            }
            self.reply(json.dumps(seen).encode(), extra="Content-Type: application/json\r\n")


async def main(path: str, name: str) -> None:
    Path(path).unlink(missing_ok=True)
    server = await asyncio.get_running_loop().create_unix_server(lambda: Server(name), path, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
