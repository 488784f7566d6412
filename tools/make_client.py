"""Writes `src/everopen/client/calls/` from the table of calls: one file per subject, one typed method per call.

Run it after a call was added or changed: `python tools/make_client.py`. A test does the same and compares, so the client
can't lack a call or name one that isn't there."""

from __future__ import annotations

import keyword
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from everopen.api.routes import Parameter, Route  # noqa: E402
from everopen.api.table import TABLE  # noqa: E402

FOLDER = ROOT / "src/everopen/client/calls"
STREAMS = frozenset(route.name for route in TABLE if route.streams)
"""Answered by `Client.follow`, which goes on after a break."""
KINDS = {"string": "str", "integer": "int", "boolean": "bool", "number": "float", "array": "list[str]"}


def snake(name: str) -> str:
    """`placeOrder` → `place_order`; `If-Match` → `if_match`; `from`, a word of Python's → `from_`."""
    found = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()
    return f"{found}_" if keyword.iskeyword(found) else found


def subject(route: Route) -> str:
    """The module of `everopen.api` that the call belongs to."""
    found = "orders" if route.handler is None else route.handler.__module__.rpartition(".")[2]
    return "shop" if found == "table" else found


def of_table() -> dict[str, list[Route]]:
    """The calls of the client by subject."""
    found: dict[str, list[Route]] = defaultdict(list)
    for route in TABLE:
        if not route.page and route.name not in STREAMS:
            found[subject(route)].append(route)
    return dict(found)


def type_name(kind: Any, imports: dict[str, set[str]]) -> str:
    """How an annotation names a type, noting its import."""
    if kind is None or kind is bytes:
        return "None" if kind is None else "bytes"
    if kind is dict:
        return "dict[str, Any]"
    if get_origin(kind) is list:
        return f"list[{type_name(get_args(kind)[0], imports)}]"
    imports.setdefault(kind.__module__, set()).add(kind.__name__)
    return str(kind.__name__)


def items_of(route: Route) -> tuple[str, Any] | None:
    """Where the entries of a page are, and their type; None for what is no page."""
    if route.answer is None or not any(item.name == "after" for item in route.parameters):
        return None
    hints = get_type_hints(route.answer) if isinstance(route.answer, type) else {}
    lists = [(name, get_args(hint)[0]) for name, hint in hints.items() if get_origin(hint) in (list, tuple)]
    return lists[0] if "next" in hints and len(lists) == 1 else None


def arguments(route: Route, imports: dict[str, set[str]]) -> list[str]:
    """The parameters of the method."""
    places = [item for item in route.parameters if item.place == "path"]
    found = [f"{snake(item.name)}: {'str' if item.name == 'sku' else 'str | UUID'}" for item in places]
    if route.body is not None:
        body = type_name(route.body, imports)
        optional = not any(field.required for field in msgspec.structs.fields(route.body))
        found.append(f"body: {body} | None = None" if optional else f"body: {body}")
    named = [
        f"{snake(item.name)}: {KINDS[item.kind]} | None = None"
        for item in route.parameters
        if item.place != "path"
    ]
    if route.method != "GET":
        named.append("key: str | None = None")
    return [*found, "*", *named, "deadline_s: float | None = None"]


def group(items: list[Parameter]) -> str:
    """A dict of parameters by their names on the wire."""
    return "{" + ", ".join(f'"{item.name}": {snake(item.name)}' for item in items) + "}"


def method(route: Route, imports: dict[str, set[str]]) -> str:
    """One method."""
    answer = type_name(route.answer, imports)
    path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
    passed = [f'"{route.method}"', f'"{path}"', answer if answer != "dict[str, Any]" else "dict"]
    for word, place in (("places", "path"), ("query", "query"), ("headers", "header")):
        items = [item for item in route.parameters if item.place == place]
        if items:
            passed.append(f"{word}={group(items)}")
    if route.body is not None:
        passed.append("body=body")
    if route.method != "GET":
        passed.append("key=key")
    passed.append("deadline_s=deadline_s")
    lines = [
        f"    async def {snake(route.name)}(self, {', '.join(arguments(route, imports))}) -> {answer}:",
        f'        """{route.summary}: `{route.method} {path}`."""',
    ]
    call = f"await self.call({', '.join(passed)})"
    if answer == "None":
        lines.append(f"        {call}")
    else:
        lines += [f"        found: {answer} = {call}", "        return found"]
    page = items_of(route)
    return "\n".join(lines + (["", *each(route, page, imports)] if page else []))


def each(route: Route, page: tuple[str, Any], imports: dict[str, set[str]]) -> list[str]:
    """The iterator over all pages of a list."""
    field, kind = page
    own = [text for text in arguments(route, imports) if not text.startswith("after:")]
    names = [text.partition(":")[0] for text in own if text != "*"]
    passed = ", ".join([*(f"{name}={name}" for name in names), "after=after"])
    return [
        f"    async def each_{snake(route.name).removeprefix('list_')}(self, {', '.join(own)}) -> AsyncIterator[{type_name(kind, imports)}]:",
        f'        """{route.summary}, and all pages after it."""',
        "        after: str | None = None",
        "        while True:",
        f"            page = await self.{snake(route.name)}({passed})",
        f"            for entry in page.{field}:",
        "                yield entry",
        "            if page.next is None:",
        "                return",
        "            after = page.next",
    ]


def module(name: str, routes: list[Route]) -> str:
    """One file."""
    imports: dict[str, set[str]] = {"everopen.client.caller": {"Caller"}}
    methods = "\n\n".join(method(route, imports) for route in routes)
    lines = [
        f'"""Calls of `{name}`. Made by tools/make_client.py from the table of calls; not changed by hand."""',
        "",
    ]
    lines += ["from __future__ import annotations", ""]
    if "AsyncIterator[" in methods:
        lines.append("from collections.abc import AsyncIterator")
    if "Any]" in methods:
        lines.append("from typing import Any")
    if "UUID" in methods:
        lines.append("from uuid import UUID")
    lines += [f"from {source} import {', '.join(sorted(names))}" for source, names in sorted(imports.items())]
    return "\n".join(
        [
            *lines,
            "",
            "",
            f"class {class_name(name)}(Caller):",
            f'    """Calls of `{name}`."""',
            "",
            methods,
            "",
        ]
    )


def class_name(subject_name: str) -> str:
    """`shapes_people` → `ShapesPeopleCalls`."""
    return "".join(part.capitalize() for part in subject_name.split("_")) + "Calls"


def init(names: list[str]) -> str:
    """The file that puts them together."""
    lines = [
        '"""All calls of the shop, by subject. Made by tools/make_client.py; not changed by hand."""',
        "",
    ]
    lines += [f"from everopen.client.calls.{name} import {class_name(name)}" for name in names]
    lines += [
        "",
        "",
        f"class Calls({', '.join(map(class_name, names))}):",
        '    """Every call of the table."""',
        "",
    ]
    return "\n".join(lines)


def files() -> dict[str, str]:
    """All files with their text, formatted."""
    subjects = of_table()
    found = {f"{name}.py": module(name, routes) for name, routes in subjects.items()}
    found["__init__.py"] = init(sorted(subjects))
    return {name: formatted(text, name) for name, text in found.items()}


def formatted(text: str, name: str) -> str:
    """As ruff writes it."""
    ruff = str(Path(sys.executable).with_name("ruff"))
    for command in (
        [
            ruff,
            "check",
            "--quiet",
            "--fix",
            "--select",
            "I,F401",
            "--stdin-filename",
            str(FOLDER / name),
            "-",
        ],
        [ruff, "format", "--quiet", "--stdin-filename", str(FOLDER / name), "-"],
    ):
        text = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, cwd=ROOT
        ).stdout
    return text


def main() -> None:
    """Writes them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for path in FOLDER.glob("*.py"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    print(f"{sum(len(routes) for routes in of_table().values())} calls in {len(wanted) - 1} files.")


if __name__ == "__main__":
    main()
