"""What a wrong body is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
import pytest

from everopen.api.bodies import ClientGone, Message, decode, read_body, require_json
from everopen.api.problems import Refusal
from everopen.api.shapes import OrderBody

DECODER = msgspec.json.Decoder(OrderBody)
REST = b'"customer":{"email":"ann@example.com"},"payment":{"provider":"sandbox","token":"tok_approve"}}'


def line(text: bytes) -> bytes:
    return b'{"lines":[' + text + b"]," + REST


SENTENCES = [
    (b"", "#none", "The body is empty; a JSON object is expected."),
    (b"  \n", "#none", "The body is empty; a JSON object is expected."),
    (b"{", "#none", "The JSON ends too early; a bracket, brace or quote is not closed."),
    (b'{"lines": nope}', "#none", "The body is not valid JSON: invalid character near byte 14."),
    (b"\xff\xfe{}", "#none", "The body is not valid JSON: invalid character near byte 0."),
    (line(b'{"sku":"\xff","quantity":1}'), "#none", "The body is not valid UTF-8."),
    (b"[]", "#", "The body must be an object, not a list."),
    (b'"text"', "#", "The body must be an object, not a text."),
    (b"null", "#", "The body must be an object, not null."),
    (b"{}", "#", "The body lacks the field `lines`."),
    (b'{"lines":[]}', "#/lines", "`lines` must not be empty."),
    (b'{"lines":7}', "#/lines", "`lines` must be a list, not a whole number."),
    (line(b"3"), "#/lines/0", "`lines[0]` must be an object, not a whole number."),
    (line(b'{"sku":"A"}'), "#/lines/0", "`lines[0]` lacks the field `quantity`."),
    (line(b'{"sku":"","quantity":1}'), "#/lines/0/sku", "`lines[0].sku` must not be empty."),
    (
        line(b'{"sku":"' + b"x" * 65 + b'","quantity":1}'),
        "#/lines/0/sku",
        "`lines[0].sku` must have at most 64 characters.",
    ),
    (
        line(b'{"sku":"A","quantity":0}'),
        "#/lines/0/quantity",
        "`lines[0].quantity` must be at least 1.",
    ),
    (
        line(b'{"sku":"A","quantity":-3}'),
        "#/lines/0/quantity",
        "`lines[0].quantity` must be at least 1.",
    ),
    (
        line(b'{"sku":"A","quantity":99999999999999999999}'),
        "#/lines/0/quantity",
        "`lines[0].quantity` must be at most 1,000,000.",
    ),
    (
        line(b'{"sku":"A","quantity":1.5}'),
        "#/lines/0/quantity",
        "`lines[0].quantity` must be a whole number, not a number with decimals.",
    ),
    (
        line(b'{"sku":"A","quantity":"1"}'),
        "#/lines/0/quantity",
        "`lines[0].quantity` must be a whole number, not a text.",
    ),
    (
        line(b'{"sku":"A","quantity":true}'),
        "#/lines/0/quantity",
        "`lines[0].quantity` must be a whole number, not true or false.",
    ),
    (
        line(b'{"sku":"A","quantity":1,"quantiy":2}'),
        "#/lines/0",
        "`lines[0]` has a field `quantiy` that nothing here reads; check its spelling.",
    ),
    (
        b'{"lines":[{"sku":"A","quantity":1}],"customer":{"email":"nobody"}}',
        "#/customer/email",
        "`customer.email` must be an e-mail address such as name@example.com.",
    ),
    (
        b'{"lines":[{"sku":"A","quantity":1}],"customer":null}',
        "#/customer",
        "`customer` must be an object, not null.",
    ),
    (
        b'{"lines":[{"sku":"A","quantity":1}],"placed_at":"yesterday"}',
        "#/placed_at",
        "`placed_at` must be a time with its zone such as 2010-12-01T08:26:00Z.",
    ),
    (
        b'{"lines":[{"sku":"A","quantity":1}],"placed_at":"2010-12-01T08:26:00"}',
        "#/placed_at",
        "`placed_at` must be a time with its zone such as 2010-12-01T08:26:00Z.",
    ),
]


@pytest.mark.parametrize(("body", "pointer", "sentence"), SENTENCES)
def test_a_wrong_body_is_told_what_and_where(body: bytes, pointer: str, sentence: str) -> None:
    with pytest.raises(Refusal) as refused:
        decode(DECODER, body)
    assert refused.value.detail == sentence
    assert [error.pointer for error in refused.value.document().errors] == (
        [] if pointer == "#none" else [pointer]
    )


@pytest.mark.parametrize("depth", [1_000, 200_000])
def test_deep_nesting_is_refused_and_not_followed(depth: int) -> None:
    for body in (b"[" * depth, b'{"lines":' + b"[" * depth, b'{"x":' * depth):
        with pytest.raises(Refusal):
            decode(DECODER, body)


def test_a_nul_character_is_refused_but_its_spelling_is_not() -> None:
    with pytest.raises(Refusal, match="NUL"):
        decode(DECODER, line(rb'{"sku":"A\u0000","quantity":1}'))
    assert decode(DECODER, line(rb'{"sku":"A\\u0000","quantity":1}')).lines[0].sku == r"A\u0000"


def test_lone_surrogates_are_refused_and_pairs_are_read() -> None:
    with pytest.raises(Refusal, match="surrogate"):
        decode(DECODER, line(rb'{"sku":"\ud800","quantity":1}'))
    assert decode(DECODER, line(rb'{"sku":"\ud83d\ude00","quantity":1}')).lines[0].sku == "😀"


@pytest.mark.parametrize(
    "value", [b"application/json", b"application/json; charset=utf-8", b'Application/JSON;charset="UTF-8"']
)
def test_json_is_taken_under_its_names(value: bytes) -> None:
    require_json({b"content-type": value})


@pytest.mark.parametrize(
    "value", [b"", b"text/plain", b"application/x-www-form-urlencoded", b"application/json; charset=latin-1"]
)
def test_other_content_types_are_refused(value: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        require_json({b"content-type": value} if value else {})
    assert refused.value.status == 415


def read(parts: Iterable[bytes], *, bytes_max: int, headers: dict[bytes, bytes] | None = None) -> bytes:
    waiting = list(parts)
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        if taken == len(waiting):
            return {"type": "http.disconnect"}
        taken += 1
        return {
            "type": "http.request",
            "body": waiting[taken - 1],
            "more_body": taken < len(waiting) + (not waiting[-1]),
        }

    return asyncio.run(read_body(headers or {}, receive, bytes_max=bytes_max, timeout_s=0.05))


def test_a_body_in_parts_is_put_together() -> None:
    assert read([b"ab", b"cd", b"ef"], bytes_max=6) == b"abcdef"


def test_a_body_over_the_limit_is_refused_while_it_arrives() -> None:
    for parts in ([b"abcdefg"], [b"abcd", b"efg"], [b"abcd", b"efg", b"hij"]):
        with pytest.raises(Refusal) as refused:
            read(parts, bytes_max=6)
        assert refused.value.status == 413


def test_a_declared_length_over_the_limit_is_refused_before_the_body() -> None:
    with pytest.raises(Refusal) as refused:
        read([b"ab"], bytes_max=6, headers={b"content-length": b"10000000"})
    assert refused.value.status == 413


def test_a_client_that_hangs_up_gets_no_answer() -> None:
    with pytest.raises(ClientGone):
        read([b"ab", b""], bytes_max=6)


def test_a_body_that_comes_too_slowly_is_refused() -> None:
    async def receive() -> Message:
        await asyncio.sleep(5)
        return {"type": "http.request"}

    with pytest.raises(Refusal) as refused:
        asyncio.run(read_body({}, receive, bytes_max=6, timeout_s=0.01))
    assert refused.value.status == 408
