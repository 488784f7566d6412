"""SQL lives in `.sql` files beside the module that owns it: one statement, one name, a sentence above it.

    -- name: find_product
    -- One product as customers see it.
    SELECT …

A query builder was turned down: the statements here are tuned by reading plans, and a plan is read from SQL.
"""

from __future__ import annotations

import re
from importlib import resources

from everopen.base.errors import InvariantBroken

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


class Statements:
    """Named statements of one file: `statements["find_product"]`, with the sentence in `descriptions`."""

    def __init__(self, text: str, origin: str) -> None:
        self._texts: dict[str, str] = {}
        self.descriptions: dict[str, str] = {}
        parts = _NAME.split(text)
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            lines = body.strip().splitlines()
            sentence = [line[2:].strip() for line in lines if line.startswith("--")]
            statement = "\n".join(line for line in lines if not line.startswith("--")).strip().rstrip(";")
            if name in self._texts or not statement or not sentence:
                raise InvariantBroken(f"Statement {name} of {origin} is empty, doubled or not described.")
            self._texts[name] = statement
            self.descriptions[name] = " ".join(sentence)

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def __iter__(self) -> object:
        return iter(self._texts)

    def names(self) -> list[str]:
        """All names, in the file's order."""
        return list(self._texts)


def load_statements(package: str, *files: str) -> Statements:
    """The statements of `files` in the `sql` folder of `package`, read once at import."""
    folder = resources.files(package).joinpath("sql")
    text = "\n".join(folder.joinpath(file).read_text(encoding="utf-8") for file in files)
    return Statements(text, f"{package}/{' and '.join(files)}")
