"""Pages of long lists, by cursor: `?limit=50&after=…`, and `next` in the answer.

A cursor says after which row the next page begins, so a page costs the same wherever it is in the list, and rows that come
or go meanwhile shift nothing (OFFSET does both wrong). It is opaque: clients hand it back as it is. It is checked and not
signed: it holds only a place in a list that its reader may read anyway, and names the list, so that a cursor of another one
is refused and not misunderstood.

In a handler:

    limit, after = read_page(call, "orders", tuple[datetime, UUID])
    rows = await … WHERE (placed_at, id) < after ORDER BY placed_at DESC, id DESC LIMIT limit + 1
    shown, following = cut(rows, limit, "orders", lambda row: (row.placed_at, row.id))
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from everopen.api.problems import Refusal
from everopen.api.routes import Call, Parameter

R = TypeVar("R")
T = TypeVar("T")
LIMIT = 50
LIMIT_MAX = 200
CURSOR_MAX = 600

_encode = msgspec.json.Encoder().encode


def page_parameters(most: int = LIMIT_MAX, usual: int = LIMIT) -> tuple[Parameter, ...]:
    """The rows of a list's table entry."""
    return (
        Parameter(
            "limit",
            f"Entries per page, 1 to {most}; {usual} by default.",
            kind="integer",
            least=1,
            most=most,
        ),
        Parameter("after", "`next` of the page before, as it is."),
    )


def read_limit(call: Call, most: int = LIMIT_MAX, usual: int = LIMIT) -> int:
    """How many entries are asked for. Raises a 422 `Refusal`."""
    text = call.parameters.get("limit", str(usual))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise Refusal("bad-input", f"`limit` must be a whole number from 1 to {most}.")
    return int(text)


def read_page(
    call: Call, kind: str, place: type[T], *, most: int = LIMIT_MAX, usual: int = LIMIT
) -> tuple[int, T | None]:
    """`limit`, and the place after which the page begins: a tuple as `cut` made it, None for the first page. Raises a 422
    `Refusal`."""
    after = call.parameters.get("after", "")
    return read_limit(call, most, usual), None if not after else decode(after, kind, place)


def cut(
    found: Sequence[R], limit: int, kind: str, place: Callable[[R], tuple[Any, ...]]
) -> tuple[list[R], str | None]:
    """What is shown of the `limit + 1` entries that were looked for, and the cursor of the next page (None on the last)."""
    shown = list(found[:limit])
    return shown, encode(kind, place(shown[-1])) if len(found) > limit else None


def encode(kind: str, place: tuple[Any, ...]) -> str:
    """A cursor of the list `kind` after a place."""
    return base64.urlsafe_b64encode(_encode([kind, *place])).rstrip(b"=").decode()


def decode(text: str, kind: str, place: type[T]) -> T:
    """The place. Raises a 422 `Refusal` for what is no cursor of this list."""
    try:
        if len(text) > CURSOR_MAX:
            raise ValueError
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(raw, type=list[Any])
        if not found or found[0] != kind:
            raise ValueError
        return msgspec.convert(found[1:], place)
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        raise Refusal(
            "bad-input", "`after` is no cursor of this list; take the `next` of the page before."
        ) from None
