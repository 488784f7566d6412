"""Statements are named, described and alone."""

from __future__ import annotations

from importlib import resources

import pytest

from everopen.base.errors import InvariantBroken
from everopen.store import Statements, load_statements

FILES = sorted(
    entry.name
    for entry in resources.files("everopen.trading").joinpath("sql").iterdir()
    if entry.name.endswith(".sql") and entry.name != "yardstick.sql"
)


def test_a_statement_has_its_name_its_sentence_and_no_semicolon() -> None:
    statements = Statements(
        "-- name: one\n-- Says one.\nSELECT 1;\n\n-- name: two\n-- Says\n-- two.\nSELECT 2", "x"
    )
    assert (statements["one"], statements["two"]) == ("SELECT 1", "SELECT 2")
    assert statements.descriptions["two"] == "Says two."
    assert statements.names() == ["one", "two"]


@pytest.mark.parametrize(
    "text",
    [
        "-- name: one\nSELECT 1",
        "-- name: one\n-- Nothing.\n",
        "-- name: a\n-- A.\nSELECT 1;\n-- name: a\n-- A.\nSELECT 2;",
    ],
)
def test_an_undescribed_empty_or_doubled_statement_is_refused(text: str) -> None:
    with pytest.raises(InvariantBroken):
        Statements(text, "x")


@pytest.mark.parametrize("file", FILES)
def test_every_file_of_trading_can_be_read(file: str) -> None:
    statements = load_statements("everopen.trading", file)
    for name in statements.names():
        assert ";" not in statements[name]
        assert statements.descriptions[name].endswith((".", ".)"))
