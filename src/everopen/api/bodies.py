"""From bytes to a checked request, or to a sentence that says what is wrong with them.

Decoding is msgspec's (typed, in one pass); this module reads the body with a limit, and turns msgspec's terse messages
into sentences with a JSON pointer. PostgreSQL's text type has no NUL, so a NUL anywhere in a body is refused here,
before it can fail a whole group of orders.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

import msgspec

from everopen.api.problems import FieldError, Refusal
from everopen.api.shapes import COUNTRY_PATTERN, CURRENCY_PATTERN, EMAIL_PATTERN, SKU_PATTERN
from everopen.api.shapes_pricing import CODE_PATTERN
from everopen.api.shapes_range import ATTRIBUTE_PATTERN, IMAGE_PATTERN, SLUG_PATTERN

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientGone(Exception):
    """The client hung up before its request was complete; there is nobody to answer."""


async def read_body(
    headers: dict[bytes, bytes], receive: Receive, *, bytes_max: int, timeout_s: float
) -> bytes:
    """The whole body. Raises `Refusal` (413, 408) or `ClientGone`."""
    declared = headers.get(b"content-length")
    if declared is not None and len(declared) < 20 and int(declared) > bytes_max:
        raise too_large(bytes_max)
    message = (
        await receive() if declared is not None and len(declared) < 5 else await _in_time(receive, timeout_s)
    )
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > bytes_max:
            raise too_large(bytes_max)
        return body
    parts, size = [body], len(body)
    deadline = asyncio.get_running_loop().time() + timeout_s
    while message.get("more_body", False):
        if size > bytes_max:
            raise too_large(bytes_max)
        message = await _in_time(receive, deadline - asyncio.get_running_loop().time())
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > bytes_max:
        raise too_large(bytes_max)
    return b"".join(parts)


async def _in_time(receive: Receive, timeout_s: float) -> Message:
    try:
        async with asyncio.timeout(max(timeout_s, 0)):
            return await receive()
    except TimeoutError:
        raise Refusal("slow-body", "The body was not complete in time.") from None


def too_large(bytes_max: int) -> Refusal:
    """413."""
    return Refusal("too-large", f"The body is larger than {bytes_max:,} bytes, the most this call takes.")


def require_json(headers: dict[bytes, bytes]) -> None:
    """Raises a 415 unless the body says that it is JSON (in UTF-8, the only encoding JSON has)."""
    value = headers.get(b"content-type", b"")
    if value == b"application/json":
        return
    media, _, parameters = value.lower().partition(b";")
    charset = parameters.strip().replace(b'"', b"")
    if media.strip() != b"application/json" or charset not in (b"", b"charset=utf-8"):
        said = f"`{value.decode('latin-1')[:80]}`" if value else "nothing"
        raise Refusal(
            "bad-content-type", f"The `Content-Type` must be `application/json` (UTF-8); it says {said}."
        )


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The typed body. Raises a 422 `Refusal` with a sentence and a pointer."""
    try:
        found = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise explain(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(body, error) from None
    if b"\\u0000" in body and holds_nul(msgspec.to_builtins(found)):
        raise Refusal("bad-input", "A text in the body holds a NUL character (\\u0000); it cannot be stored.")
    return found


def holds_nul(value: object) -> bool:
    """Whether any text in a decoded body holds a NUL."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(holds_nul(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(holds_nul(item) for item in value)
    return False


def malformed(body: bytes, error: Exception) -> Refusal:
    """A 422 for what is no JSON at all."""
    if not body.strip():
        return Refusal("bad-input", "The body is empty; a JSON object is expected.")
    if isinstance(error, UnicodeDecodeError):
        return Refusal("bad-input", "The body is not valid UTF-8.")
    if isinstance(error, RecursionError):
        return Refusal("bad-input", "The JSON is nested too deeply.")
    if "truncated" in str(error):
        return Refusal("bad-input", "The JSON ends too early; a bracket, brace or quote is not closed.")
    place = re.search(r"^JSON is malformed: (.*?)(?: \(byte (\d+)\))?$", str(error))
    if place is None:
        return Refusal("bad-input", f"The body is not valid JSON: {error}.")
    where = f" near byte {place[2]}" if place[2] else ""
    return Refusal("bad-input", f"The body is not valid JSON: {place[1]}{where}.")


_TYPES = {
    "int": "a whole number",
    "float": "a number with decimals",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "datetime": "a time such as 2010-12-01T08:26:00Z",
}
_PATTERNS = {
    EMAIL_PATTERN: "must be an e-mail address such as name@example.com",
    SKU_PATTERN: "must not hold control characters or line ends",
    COUNTRY_PATTERN: "must be a country code of two capitals such as GB",
    SLUG_PATTERN: "must be made of lower-case letters, digits and . _ -",
    ATTRIBUTE_PATTERN: "must hold neither colons nor control characters",
    IMAGE_PATTERN: "must be the address of a picture: http, https, or a path that begins with /",
    CURRENCY_PATTERN: "must be a currency code of three capitals such as GBP",
    CODE_PATTERN: "must be up to 40 letters, digits, - and _",
}


def explain(message: str) -> Refusal:
    """msgspec's message as a sentence about a field, with its JSON pointer."""
    what, _, where = message.rpartition(" - at `")
    if not what:
        what, path = message, ""
    else:
        path = where.rstrip("`").removeprefix("$").removeprefix(".")
    sentence = _sentence(what, path)
    pointer = "#" + "".join(f"/{part}" for part in re.findall(r"[^.\[\]]+", path))
    return Refusal("bad-input", sentence, errors=(FieldError(pointer, sentence),))


def _sentence(what: str, path: str) -> str:
    name = f"`{path}`" if path else "The body"
    if found := re.fullmatch(r"Expected `(.+?)`, got `(.+)`", what):
        return f"{name} must be {_type(found[1])}, not {_type(found[2])}."
    if found := re.fullmatch(r"Object missing required field `(.+)`", what):
        return f"{name} lacks the field `{found[1]}`."
    if found := re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL):
        return f"{name} has a field `{found[1][:80]}` that nothing here reads; check its spelling."
    if found := re.fullmatch(r"Expected `int` (>=|<=) (-?\d+)", what):
        return f"{name} must be {'at least' if found[1] == '>=' else 'at most'} {int(found[2]):,}."
    if re.fullmatch(r"Expected `(str|array)` of length >= 1", what):
        return f"{name} must not be empty."
    if found := re.fullmatch(r"Expected `str` of length (>=|<=) (\d+)", what):
        return (
            f"{name} must have {'at least' if found[1] == '>=' else 'at most'} {int(found[2]):,} characters."
        )
    if found := re.fullmatch(r"Expected `array` of length (>=|<=) (\d+)", what):
        return f"{name} must have {'at least' if found[1] == '>=' else 'at most'} {int(found[2]):,} entries."
    if found := re.fullmatch(r"Expected `str` matching regex '(.+)'", what):
        pattern = found[1].replace("\\\\", "\\")
        return f"{name} {_PATTERNS.get(pattern, f'must match {pattern}')}."
    if what.startswith("Invalid RFC3339") or "timezone" in what:
        return f"{name} must be a time with its zone such as 2010-12-01T08:26:00Z."
    return f"{name} is wrong: {what}."


def _type(names: str) -> str:
    return " or ".join(_TYPES.get(name, f"`{name}`") for name in names.split(" | "))
