"""The OpenAPI 3.1 document, made from the route table and the structs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from everopen.api.problems import PROBLEMS, Problem
from everopen.api.routes import CUSTOMER, Parameter, Route, refusals_of
from everopen.api.sessions import COOKIE

_REF = "#/components/schemas/{name}"


def document(table: Sequence[Route], *, shop_name: str, version: str) -> dict[str, Any]:
    """The whole document. Pages for people are left out."""
    calls = [route for route in table if not route.page]
    types = sorted(
        {kind for route in calls for kind in (route.body, route.answer) if kind not in (None, bytes)}
        | {Problem},
        key=lambda kind: kind.__name__,
    )
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in calls:
        # `{id:uuid}` of the router is `{id}` in the document
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{shop_name} API",
            "version": version,
            "description": "Errors are problem documents (RFC 9457). A request with an `Idempotency-Key` counts once, "
            "however often it is sent. The gateway in front answers for itself where a request is not well-formed HTTP or "
            "no worker takes it (400, 408, 413, 414, 417, 431, 501, 502, 503, 504, 505), as problem documents of type "
            "`about:blank`.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "operator": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A staff login's token, an API key, or the operator key.",
                },
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def _operation(route: Route, schema_of: dict[type, dict[str, Any]]) -> dict[str, Any]:
    parameters = [_parameter(item) for item in route.parameters]
    if route.keyed:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The same key with the same body gives the same answer again and changes nothing.",
                "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
            }
        )
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": _responses(route, schema_of),
    }
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        required = any(field.required for field in msgspec.structs.fields(route.body))
        operation["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": schema_of[route.body]}},
        }
    if route.raw:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": {}}}}
    if route.scope:
        operation["security"] = [{"session": []} if route.scope == CUSTOMER else {"operator": []}]
    return operation


def _responses(route: Route, schema_of: dict[type, dict[str, Any]]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done."}
    if route.answer is not None:
        schema = {"type": "string"} if route.answer is bytes else schema_of[route.answer]
        good["content"] = {route.media: {"schema": schema}}
    if route.streams:
        good["description"] = "Server-sent events, until one of both hangs up."
        good["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    if route.keyed:
        good["headers"] = {
            "Idempotency-Replayed": {
                "description": "`true` when this key was answered before.",
                "schema": {"type": "string", "const": "true"},
            }
        }
    found: dict[str, Any] = {str(route.status): good}
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for name in refusals_of(route):
        by_status[PROBLEMS[name].status].append(name)
    for status, names in sorted(by_status.items()):
        found[str(status)] = {
            "description": "; ".join(f"{PROBLEMS[name].title} (`/problems/{name}`)" for name in names) + ".",
            "content": {"application/problem+json": {"schema": schema_of[Problem]}},
        }
    return found


def _parameter(item: Parameter) -> dict[str, Any]:
    return {
        "name": item.name,
        "in": item.place,
        "required": item.place == "path",
        "description": item.description,
        "schema": _schema(item),
    }


def _schema(item: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": item.kind}
    if item.kind == "array":
        schema["items"] = {"type": "string"}
    if item.least is not None:
        schema["minimum"] = item.least
    if item.most is not None:
        schema["maximum"] = item.most
    if item.choices:
        schema["enum"] = list(item.choices)
    if item.pattern:
        schema["pattern"] = item.pattern
    return schema
