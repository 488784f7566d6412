"""The repository tests its own shape: links lead somewhere, examples are right, every variant is registered."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import click
import pytest

from everopen.cli.root import COMMANDS, root
from everopen.gateway.balancing import POLICIES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
SOURCES = sorted((ROOT / "src").rglob("*.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_in_the_docs_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_the_docs_name_exists(page: Path) -> None:
    named = set(re.findall(r"(?:^|`|/)everopen ([a-z]+)", page.read_text(), re.MULTILINE))
    assert named - set(COMMANDS) == set()


def test_the_order_in_the_readme_is_what_the_api_takes() -> None:
    from everopen.api.shapes import OrderBody

    text = re.search(
        r"api/orders -H 'content-type: application/json' -d '(\{.*?\})'\n",
        (ROOT / "README.md").read_text(),
        re.DOTALL,
    )
    assert text is not None
    import msgspec

    assert msgspec.json.decode(text[1].encode(), type=OrderBody)
    assert json.loads(text[1])["lines"][0]["sku"] == "85123A"


def test_every_command_has_help_with_an_example() -> None:
    context = click.Context(root)
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None
        group = isinstance(command, click.Group)
        leaves = [command.commands[sub] for sub in command.commands] if group else [command]  # type: ignore[attr-defined]
        for leaf in leaves:
            assert "everopen" in (leaf.help or ""), f"{name}: {leaf.name} has no example"


def test_every_policy_file_is_registered() -> None:
    folder = ROOT / "src/everopen/gateway/balancing"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "policy"}
    assert len(files) == len(POLICIES)


def test_every_module_says_what_it_is_for() -> None:
    assert [str(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_no_file_names_a_registry_or_a_private_path() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    host = "pypi" + ".org"
    wrong = []
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".png", ".gz") or not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if host in text or "pythonhosted" + ".org" in text:
            wrong.append(name)
    assert wrong == []
