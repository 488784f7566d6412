"""Cursors of lists."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everopen.api.cursors import cut, decode, encode, page_parameters, read_page
from everopen.api.problems import Refusal
from everopen.api.routes import Call


def call(query: str) -> Call:
    return Call("/", {}, {}, query.encode())


def test_a_cursor_leads_back_to_its_place() -> None:
    place = (datetime(2026, 11, 23, tzinfo=UTC), uuid4(), 5, "ü/ +")
    text = encode("orders", place)
    assert text.isascii()
    assert "=" not in text
    assert decode(text, "orders", tuple[datetime, UUID, int, str]) == place


@pytest.mark.parametrize(
    "text", ["x", "!!", "AAAA", "WzFd", "null", "W10", "a" * 5000, encode("products", ("a",))]
)
def test_what_is_no_cursor_of_the_list_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        decode(text, "orders", tuple[str])
    assert refused.value.status == 422


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    try:
        decode(text, "orders", tuple[str])
    except Refusal:
        pass


def test_pages_follow_each_other_to_the_end() -> None:
    rows, seen, after = list(range(7)), [], ""
    while True:
        limit, place = read_page(call(f"limit=3&after={after}"), "rows", tuple[int])
        start = 0 if place is None else place[0] + 1
        shown, following = cut(rows[start : start + limit + 1], limit, "rows", lambda row: (row,))
        seen.append(shown)
        if following is None:
            break
        after = following
    assert seen == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("limit", ["0", "201", "x", "-1", "", "٣", "9" * 30])
def test_a_limit_is_a_number_in_bounds(limit: str) -> None:
    with pytest.raises(Refusal):
        read_page(call(f"limit={limit}"), "rows", tuple[int])


def test_the_document_says_the_bounds() -> None:
    limit, after = page_parameters(100, 20)
    assert (limit.least, limit.most, after.kind) == (1, 100, "string")
