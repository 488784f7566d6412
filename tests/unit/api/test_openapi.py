"""The OpenAPI document says what the table says."""

from __future__ import annotations

import re
from typing import Any

from everopen.api.openapi import document
from everopen.api.problems import PROBLEMS
from everopen.api.routes import refusals_of
from everopen.api.table import TABLE

DOCUMENT = document(TABLE, shop_name="Shop", version="1")


def test_every_call_for_machines_is_in_the_document_and_nothing_else() -> None:
    expected = {
        (re.sub(r":\w+\}", "}", route.path), route.method.lower()) for route in TABLE if not route.page
    }
    found = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert found == expected


def test_operation_ids_and_places_are_unique() -> None:
    assert len({route.name for route in TABLE}) == len(TABLE)
    assert len({(route.method, route.path) for route in TABLE}) == len(TABLE)


def test_every_reference_points_to_a_component() -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if "$ref" in value else []
            return own + [found for item in value.values() for found in references(item)]
        if isinstance(value, list):
            return [found for item in value for found in references(item)]
        return []

    names = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert set(references(DOCUMENT)) <= names


def test_path_parameters_are_described() -> None:
    for route in TABLE:
        if not route.page:
            inside = set(re.findall(r"\{(\w+)", route.path))
            assert inside == {item.name for item in route.parameters if item.place == "path"}, route.path


def test_every_problem_is_known_and_used() -> None:
    used = {name for route in TABLE for name in refusals_of(route)}
    assert used <= set(PROBLEMS)
    beyond = {"not-found", "bad-method", "foreign-form"}
    assert set(PROBLEMS) <= used | beyond
