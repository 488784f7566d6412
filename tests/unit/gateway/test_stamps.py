"""Keys and dates that the gateway writes."""

from __future__ import annotations

import re
from itertools import pairwise

from everopen.gateway.stamps import Stamps


def test_keys_are_distinct_and_later_ones_sort_behind_earlier_ones() -> None:
    stamps = Stamps(1_700_000_000.0)
    keys = []
    for step in range(400):
        stamps.look(1_700_000_000.0 + step * 0.025)
        keys.append([stamps.new_key() for _ in range(5)])
    flat = [key for batch in keys for key in batch]
    assert all(re.fullmatch(rb"[0-9a-f]{32}", key) for key in flat)
    assert len({key[11:] for key in flat}) == len(flat)
    assert all(max(before) < min(after) for before, after in pairwise(keys))


def test_the_date_is_written_as_http_wants_it_and_moves_on() -> None:
    stamps = Stamps(784111777.9)
    assert stamps.date_line == b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    stamps.look(784111778.0)
    assert stamps.date_line == b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"
