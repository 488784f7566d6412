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


def test_the_loop_itself_and_frames_without_a_path_have_a_name_too() -> None:
    assert part_of("run (asyncio/runners.py:118)") == "event loop: polling and system calls"
    assert part_of("loads (<string>)") == "Python's library"
    assert part_of("loads (json/decoder.py:3)") == "json"
