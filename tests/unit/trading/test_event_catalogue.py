"""The catalogue of events is what the docs say, and every topic that the shop announces stands in it."""

from __future__ import annotations

import re
from pathlib import Path

from everopen.trading.events.catalogue import TOPICS, page

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_of_events_is_current() -> None:
    """`python -m everopen.trading.events.catalogue > docs/events.md` renews it."""
    assert (ROOT / "docs/events.md").read_text() == page()


def test_every_topic_that_a_statement_announces_is_in_the_catalogue() -> None:
    announced = set()
    for path in (ROOT / "src/everopen").rglob("*.sql"):
        text = path.read_text()
        for start in [found.end() for found in re.finditer(r"INSERT INTO outbox", text)]:
            announced |= set(re.findall(r"'([a-z_]+\.[a-z_]+)'", text[start : text.find(";", start)]))
    for path in (ROOT / "src/everopen").rglob("*.py"):
        announced |= set(re.findall(r'\bannounce\(\s*connection,\s*"([a-z_]+\.[a-z_]+)"', path.read_text()))
    assert announced - set(TOPICS) == set()
    assert len(announced) >= 10


def test_every_topic_says_what_it_means() -> None:
    for name, topic in TOPICS.items():
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", name)
        assert topic.description.endswith(".")
        assert topic.payload.__doc__
