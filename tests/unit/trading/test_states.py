"""The tables of states: they are whole, and the database and the page say the same."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from everopen.trading import states
from everopen.trading.states import ORDER_TRANSITIONS, RETURN_TRANSITIONS, Transition

ROOT = Path(__file__).resolve().parents[3]
TABLES = {
    "orders": (ORDER_TRANSITIONS, states.ORDER_STATUSES),
    "returns": (RETURN_TRANSITIONS, states.RETURN_STATUSES),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_state_is_reached_and_an_event_leads_to_one_state(name: str) -> None:
    table, statuses = TABLES[name]
    assert {row.target for row in table} | {table[0].source} == set(statuses)
    assert {row.source for row in table} <= set(statuses)
    assert len({(row.source, row.event) for row in table}) == len(table)
    for row in table:
        assert row.effect
        assert row.reason
        assert states.target(table, row.source, row.event) == row.target
    assert states.target(table, "nowhere", "capture") is None


def test_nothing_ships_before_it_is_paid_and_nothing_on_its_way_is_cancelled() -> None:
    for row in ORDER_TRANSITIONS:
        if row.event.startswith("ship_"):
            assert row.source in ("paid", "partly_shipped")
        if row.target == "cancelled":
            assert row.source in (*states.RESERVING, "paid")
    assert {(row.source, row.event) for row in ORDER_TRANSITIONS} >= states.UNTOLD


def test_the_page_shows_the_tables_as_they_are() -> None:
    page = (ROOT / "docs/lifecycle.md").read_text()
    assert states.page(page) == page, "renew docs/lifecycle.md; the page says how"
    assert page.count("stateDiagram-v2") == 2


def test_the_page_is_made_of_the_table() -> None:
    table = (Transition("a", "go", "b", "none", "why not"),)
    assert states.diagram(table) == "stateDiagram-v2\n    [*] --> a\n    a --> b: go\n    b --> [*]"
    assert states.listing(table).splitlines()[2] == "| a | go | b | none | why not |"


def test_the_database_takes_the_same_statuses() -> None:
    script = (
        resources.files("everopen.store.migrations").joinpath("versions/lifecycle/tables.sql").read_text()
    )
    check = re.search(r"orders_status_check CHECK \(status IN \((.*?)\)\)", script, re.DOTALL)
    assert check is not None
    assert set(re.findall(r"'(\w+)'", check[1])) == set(states.ORDER_STATUSES)
