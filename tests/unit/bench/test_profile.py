"""Folded stacks as shares."""

from everopen.bench.profile import part_of, parts_of

FOLDED = """run (uvloop/__init__.py:90);feed (everopen/gateway/client.py:12) 30
run (uvloop/__init__.py:90);feed (everopen/gateway/client.py:44) 30
run (uvloop/__init__.py:90) 20
run (uvloop/__init__.py:90);ask (asyncpg/connection.py:9);bind (x/site-packages/asyncpg/protocol.py:1) 20
torn line
"""


def test_samples_count_for_the_innermost_frame() -> None:
    assert parts_of(FOLDED, most=9) == [
        ("everopen/gateway/client.py", 0.6),
        ("uvloop", 0.2),
        ("asyncpg", 0.2),
    ]


def test_nothing_sampled_is_no_share() -> None:
    assert parts_of("", most=3) == []


def test_a_frame_without_a_path_has_a_name_too() -> None:
    assert part_of("run_forever (<string>)") == "event loop"
    assert part_of("loads (json/decoder.py:3)") == "json"
