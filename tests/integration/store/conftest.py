"""One PostgreSQL for the store tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import Database, Node, running_node


@pytest.fixture(scope="session")
def store_node() -> Iterator[Node]:
    with running_node() as running:
        yield running


@pytest.fixture
def database(store_node: Node) -> Database:
    return store_node.create_database_now()
