"""The client's pure halves, and that it has every call."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest

from everopen.api.table import TABLE
from everopen.base.clock import Rng
from everopen.client import Client, Conflict, NotAllowed, NotFound, RateLimited, Refused, SoldOut, Unavailable
from everopen.client.attempts import PAUSE_S_MAX, Budget, pause_s
from everopen.client.errors import refused
from everopen.client.events import Event, Parser

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))
import make_client  # noqa: E402


def test_every_call_of_the_table_is_a_typed_method() -> None:
    wanted = {route.name for route in TABLE if not route.page}
    assert {"followEvents", "followOrder"} == make_client.STREAMS
    assert all(hasattr(Client, name) for name in ("follow", "follow_order"))
    for name in wanted - make_client.STREAMS:
        method = getattr(Client, make_client.snake(name))
        assert inspect.iscoroutinefunction(method), name
        hints = inspect.signature(method)
        assert hints.return_annotation != inspect.Signature.empty, name
        route = next(route for route in TABLE if route.name == name)
        for item in route.parameters:
            assert make_client.snake(item.name) in hints.parameters, (name, item.name)
        assert ("body" in hints.parameters) == (route.body is not None), name


def test_the_client_is_what_its_generator_writes() -> None:
    """Run `python tools/make_client.py` after a call was added or changed."""
    written = {path.name: path.read_text() for path in make_client.FOLDER.glob("*.py")}
    assert make_client.files() == written


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (409, b'{"type":"/problems/sold-out","sku":"a","available":2}', SoldOut),
        (409, b'{"type":"/problems/conflict"}', Conflict),
        (404, b'{"type":"/problems/not-found"}', NotFound),
        (403, b'{"type":"/problems/not-operator"}', NotAllowed),
        (429, b'{"type":"/problems/rate-limited"}', RateLimited),
        (503, b'{"type":"about:blank"}', Unavailable),
        (502, b"<html>", Unavailable),
        (422, b"[1]", Refused),
    ],
)
def test_a_problem_document_becomes_its_error(status: int, document: bytes, kind: type[Refused]) -> None:
    error = refused(status, document, key="k")
    assert type(error) is kind
    assert (error.status, error.key) == (status, "k")
    if isinstance(error, SoldOut):
        assert (error.name, error.sku, error.available) == ("sold-out", "a", 2)


def test_retries_have_a_budget() -> None:
    budget = Budget(share=0.2, reserve=3.0)
    assert [budget.retry() for _ in range(5)] == [True, True, True, False, False]
    for _ in range(5):
        budget.first_try()
    assert [budget.retry() for _ in range(2)] == [True, False]


def test_pauses_grow_with_jitter_and_heed_what_the_shop_asks() -> None:
    rng = Rng(1)
    for attempt in range(1, 30):
        assert 0 <= pause_s(attempt, None, rng, 0.0) <= min(PAUSE_S_MAX, 0.05 * 2**attempt)
    assert 3.0 <= pause_s(1, "3", rng, 0.0) <= 3.05
    assert 60.0 <= pause_s(1, "Thu, 01 Jan 1970 00:01:00 GMT", rng, 0.0) <= 60.05
    assert pause_s(1, "soon", rng, 0.0) <= 0.1


def test_a_stream_of_events_is_read_as_the_standard_says() -> None:
    parser = Parser()
    text = ':hello\nid: 7\nevent: order.paid\ndata: {"a":\ndata: 1}\n\nretry: 1500\ndata:plain\n\nevent: x\n\nid: 8\n'
    found = [event for line in text.split("\n") for event in parser.feed(line)]
    assert found == [Event("7", "order.paid", {"a": 1}), Event("7", "message", "plain")]
    assert (parser.last_id, parser.retry_s) == ("8", 1.5)


def test_the_example_in_the_readme_names_only_what_the_client_has() -> None:
    text = (ROOT / "README.md").read_text()
    example = re.search(r"```python\n(.*?everopen\.client.*?)```", text, re.DOTALL)
    assert example is not None
    compile(example[1], "README.md", "exec")
    for name in re.findall(r"\bshop\.(\w+)\(", example[1]):
        assert hasattr(Client, name), name
