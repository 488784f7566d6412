"""Generated credentials: made at the first start, kept in one file that only the shop's owner can read."""

from __future__ import annotations

from pathlib import Path

import msgspec

from everopen.base.errors import StartError
from everopen.base.ids import secret_token
from everopen.base.topology import write_atomically


class Secrets(msgspec.Struct, frozen=True):
    """Passwords of the database roles, and the key for staff calls (`Authorization: Bearer …`)."""

    superuser: str
    replication: str
    app: str
    audit: str
    operator_key: str


def load_or_create(path: Path) -> tuple[Secrets, bool]:
    """The secrets, and whether they were made just now (then the operator key is shown, once)."""
    if path.exists():
        try:
            return msgspec.json.decode(path.read_bytes(), type=Secrets), False
        except (msgspec.DecodeError, OSError) as error:
            raise StartError(
                f"{path} can't be read: {error}.",
                "Restore it from a backup: the database passwords are in it.",
            ) from error
    made = Secrets(*(secret_token() for _ in Secrets.__struct_fields__))
    write_atomically(path, msgspec.json.format(msgspec.json.encode(made)), mode=0o600, durable=True)
    return made, True
