"""Error answers: RFC 9457 problem documents with a sentence that helps."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

REASONS: dict[int, bytes] = {status.value: status.phrase.encode() for status in HTTPStatus}

STATUS_LINES: dict[int, bytes] = {
    code: b"HTTP/1.1 %d %s\r\n" % (code, REASONS.get(code, b"Status")) for code in range(100, 1000)
}


class Refusal(msgspec.Struct, frozen=True):
    """A request that the gateway will not pass on: status and the sentence for the client."""

    status: int
    detail: str


def problem(status: int, detail: str, *, retry_after_s: int | None = None) -> tuple[list[bytes], bytes]:
    """Header lines and body of a problem document."""
    title = REASONS.get(status, b"Error").decode()
    body = msgspec.json.encode({"type": "about:blank", "title": title, "status": status, "detail": detail})
    lines = [b"Content-Type: application/problem+json\r\n"]
    if retry_after_s is not None:
        lines.append(b"Retry-After: %d\r\n" % retry_after_s)
    return lines, body
