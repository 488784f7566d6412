"""The sandbox's books: what was asked, what was answered, and where the money is. SQLite, opened for this process alone.

A charge is `approved` (its money moved at once), `declined`, `withdrawn` (never made, whatever comes later), or
`authorised` (held); a hold ends as `captured` (nothing is held any more) or `voided` (nothing was taken).
The books survive `kill -9` of the process; after a power cut the last moments may be missing (synchronous=NORMAL), which a
real provider would not allow itself."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

TABLES = """
CREATE TABLE IF NOT EXISTS charges (
    key TEXT PRIMARY KEY, amount INTEGER NOT NULL, currency TEXT NOT NULL, token TEXT NOT NULL,
    status TEXT NOT NULL, answers INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refunds (
    key TEXT PRIMARY KEY, charge TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL, status TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS refunds_charge ON refunds (charge);
CREATE TABLE IF NOT EXISTS captures (
    key TEXT PRIMARY KEY, charge TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL, status TEXT NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS voids (
    key TEXT PRIMARY KEY, charge TEXT NOT NULL, status TEXT NOT NULL
) WITHOUT ROWID;
"""
ADDED = (
    ("charges", "captured", "INTEGER NOT NULL DEFAULT 0"),
    ("charges", "at", "REAL NOT NULL DEFAULT 0"),
    ("refunds", "at", "REAL NOT NULL DEFAULT 0"),
)
"""Columns that books of earlier versions lack."""
INDEXES = """
CREATE INDEX IF NOT EXISTS charges_at ON charges (at) WHERE status = 'approved';
CREATE INDEX IF NOT EXISTS captures_at ON captures (at);
CREATE INDEX IF NOT EXISTS refunds_at ON refunds (at);
"""

BOOKS = """
SELECT (SELECT count(*) FROM charges WHERE status IN ('approved', 'authorised', 'captured', 'voided')) AS charges_approved,
       (SELECT count(*) FROM charges WHERE status = 'declined') AS charges_declined,
       (SELECT coalesce(sum(CASE status WHEN 'approved' THEN amount ELSE captured END), 0) FROM charges) AS captured,
       (SELECT count(*) FROM refunds WHERE status = 'approved') AS refunds,
       (SELECT coalesce(sum(amount), 0) FROM refunds WHERE status = 'approved') AS refunded
"""
MOVEMENTS = """
SELECT * FROM (
    SELECT 'capture' AS kind, key AS id, 'ch_' || key AS reference, amount, currency, at FROM charges
     WHERE status = 'approved' AND at >= :since AND at < :until
    UNION ALL SELECT 'capture', charge, 'ca_' || key, amount, currency, at FROM captures
     WHERE status = 'approved' AND at >= :since AND at < :until
    UNION ALL SELECT 'refund', key, 're_' || key, amount, currency, at FROM refunds
     WHERE status = 'approved' AND at >= :since AND at < :until)
 WHERE (at, reference) > (:after_at, :after) ORDER BY at, reference LIMIT :most
"""
PAGE = 1000

APPROVED = frozenset(
    {
        "tok_approve", "tok_slow", "tok_lost", "tok_webhook", "tok_webhook_twice", "tok_webhook_reordered",
        "tok_webhook_delayed", "tok_webhook_first", "tok_webhook_only", "tok_lapse", "tok_capture_declined",
        "tok_refund_declined", "tok_refund_returned",
    }
)  # fmt: skip
"""Tokens whose charges and holds are approved; any other is declined."""


class ChargeBody(msgspec.Struct, frozen=True):
    """POST /charges. Without `capture` the money is only held."""

    idempotency_key: str
    amount: Annotated[int, msgspec.Meta(ge=0)]
    currency: str
    token: str
    capture: bool = True


class CaptureBody(msgspec.Struct, frozen=True):
    """POST /captures. `charge` is the key of the hold; what a final capture leaves of it is given back."""

    idempotency_key: str
    charge: str
    amount: Annotated[int, msgspec.Meta(ge=0)]
    currency: str
    final: bool = True


class VoidBody(msgspec.Struct, frozen=True):
    """POST /voids. `charge` is the key of the hold."""

    idempotency_key: str
    charge: str


class RefundBody(msgspec.Struct, frozen=True):
    """POST /refunds. `charge` is the key of the charge."""

    idempotency_key: str
    charge: str
    amount: Annotated[int, msgspec.Meta(ge=0)]
    currency: str


class Withdrawal(msgspec.Struct, frozen=True):
    """POST /charges/KEY/withdraw: the charge, if it was not made by now, is never made."""

    idempotency_key: str


class Later(msgspec.Struct, frozen=True):
    """What the sandbox does by itself: a hold lapses, a refund comes back."""

    kind: str
    key: str


Movement = ChargeBody | CaptureBody | VoidBody | RefundBody | Withdrawal | Later


class Ledger:
    """The provider's books."""

    def __init__(self, path: Path | str) -> None:
        self._base = sqlite3.connect(path, isolation_level=None)
        self._base.row_factory = sqlite3.Row
        for pragma in (
            "locking_mode=EXCLUSIVE",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "temp_store=MEMORY",
        ):
            self._base.execute(f"PRAGMA {pragma}")
        self._base.executescript(TABLES)
        for table, column, kind in ADDED:
            if column not in {row["name"] for row in self._base.execute(f"PRAGMA table_info({table})")}:
                self._base.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        self._base.executescript(INDEXES)
        self._base.execute("BEGIN IMMEDIATE")  # opens every file now, while this process may
        self._base.execute("COMMIT")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction."""
        self._base.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    def _one(self, statement: str, *values: Any) -> Any:
        return self._base.execute(statement, values).fetchone()

    def charge(self, body: ChargeBody) -> tuple[str, int] | None:
        """Status and how often it was asked before; None when the key belongs to another charge."""
        status = ("approved" if body.capture else "authorised") if body.token in APPROVED else "declined"
        self._base.execute(
            "INSERT OR IGNORE INTO charges (key, amount, currency, token, status, at) VALUES (?, ?, ?, ?, ?, ?)",
            (body.idempotency_key, body.amount, body.currency, body.token, status, time.time()),
        )
        row = self._one("SELECT * FROM charges WHERE key = ?", body.idempotency_key)
        if row["status"] == "withdrawn":
            return "declined", 0
        if (row["amount"], row["currency"]) != (body.amount, body.currency):
            return None
        if row["status"] != "declined" and (row["status"] == "approved") != body.capture:
            return None
        if row["token"] == "tok_lost":
            self._base.execute("UPDATE charges SET answers = answers + 1 WHERE key = ?", (row["key"],))
        return row["status"], row["answers"]

    def capture(self, body: CaptureBody) -> str:
        """Status: approved while the captures of a hold don't exceed it."""
        known = self._one("SELECT status FROM captures WHERE key = ?", body.idempotency_key)
        if known is not None:
            return str(known["status"])
        hold = self._one("SELECT * FROM charges WHERE key = ?", body.charge)
        fits = (
            hold is not None
            and hold["status"] == "authorised"
            and hold["token"] != "tok_capture_declined"
            and hold["currency"] == body.currency
            and hold["captured"] + body.amount <= hold["amount"]
        )
        if fits:
            ends = body.final or hold["captured"] + body.amount == hold["amount"]
            self._base.execute(
                "UPDATE charges SET captured = captured + ?, status = ? WHERE key = ?",
                (body.amount, "captured" if ends else "authorised", body.charge),
            )
        status = "approved" if fits else "declined"
        self._base.execute(
            "INSERT INTO captures (key, charge, amount, currency, status, at) VALUES (?, ?, ?, ?, ?, ?)",
            (body.idempotency_key, body.charge, body.amount, body.currency, status, time.time()),
        )
        return status

    def void(self, body: VoidBody) -> str:
        """Status: approved when nothing is held any more, declined when all of it was captured or nothing ever held."""
        known = self._one("SELECT status FROM voids WHERE key = ?", body.idempotency_key)
        if known is not None:
            return str(known["status"])
        hold = self._one("SELECT * FROM charges WHERE key = ?", body.charge)
        if hold is not None and hold["status"] == "authorised":
            self._give_back(hold)
        rest = hold is not None and hold["captured"] < hold["amount"]
        fits = rest and hold["status"] in ("authorised", "voided", "captured")
        status = "approved" if fits else "declined"
        self._base.execute(
            "INSERT INTO voids (key, charge, status) VALUES (?, ?, ?)",
            (body.idempotency_key, body.charge, status),
        )
        return status

    def _give_back(self, hold: Any) -> None:
        status = "captured" if hold["captured"] else "voided"
        self._base.execute("UPDATE charges SET status = ? WHERE key = ?", (status, hold["key"]))

    def refund(self, body: RefundBody) -> str:
        """Status: approved while the refunds of a charge don't exceed what was captured of it."""
        known = self._one("SELECT status FROM refunds WHERE key = ?", body.idempotency_key)
        if known is not None:
            return str(known["status"])
        charge = self._one("SELECT * FROM charges WHERE key = ?", body.charge)
        given = self._one(
            "SELECT coalesce(sum(amount), 0) AS sum FROM refunds WHERE charge = ? AND status = 'approved'",
            body.charge,
        )["sum"]
        fits = (
            charge is not None
            and charge["currency"] == body.currency
            and charge["token"] != "tok_refund_declined"
            and given + body.amount
            <= (charge["amount"] if charge["status"] == "approved" else charge["captured"])
        )
        status = "approved" if fits else "declined"
        self._base.execute(
            "INSERT INTO refunds (key, charge, amount, currency, status, at) VALUES (?, ?, ?, ?, ?, ?)",
            (body.idempotency_key, body.charge, body.amount, body.currency, status, time.time()),
        )
        return status

    def withdraw(self, body: Withdrawal) -> str | None:
        """The status of a charge; None when there was none, and then there will be none. A hold is given back."""
        key = body.idempotency_key
        self._base.execute(
            "INSERT OR IGNORE INTO charges (key, amount, currency, token, status) VALUES (?, 0, '', '', 'withdrawn')",
            (key,),
        )
        charge = self._one("SELECT * FROM charges WHERE key = ?", key)
        if charge["status"] == "authorised" and not charge["captured"]:
            self._give_back(charge)
            return None
        return None if charge["status"] in ("withdrawn", "voided") else str(charge["status"])

    def later(self, body: Later) -> str | None:
        """A hold lapses, or a refund comes back; its new status, or None when it is too late for that."""
        if body.kind == "authorise":
            hold = self._one("SELECT * FROM charges WHERE key = ?", body.key)
            if hold["status"] != "authorised":
                return None
            self._give_back(hold)
            return "lapsed"
        self._base.execute("UPDATE refunds SET status = 'declined' WHERE key = ?", (body.key,))
        return "declined"

    def write(self, body: Movement) -> Any:
        """Whichever it is."""
        match body:
            case ChargeBody():
                return self.charge(body)
            case CaptureBody():
                return self.capture(body)
            case VoidBody():
                return self.void(body)
            case RefundBody():
                return self.refund(body)
            case Withdrawal():
                return self.withdraw(body)
            case Later():
                return self.later(body)

    def look(self, kind: str, key: str) -> str | None:
        """The status of a charge, hold, capture, void or refund; None for what was never asked."""
        table = {"capture": "captures", "void": "voids", "refund": "refunds"}.get(kind, "charges")
        row = self._one(f"SELECT status FROM {table} WHERE key = ?", key)
        return None if row is None or row["status"] == "withdrawn" else str(row["status"])

    def token_of(self, charge: str) -> str:
        """The token of a charge or hold, empty for none."""
        row = self._one("SELECT token FROM charges WHERE key = ?", charge)
        return "" if row is None else str(row["token"])

    def sums(self) -> dict[str, int]:
        """Counts and amounts of all books."""
        return dict(self._one(BOOKS))

    def movements(self, since_s: float, until_s: float, after: str) -> dict[str, Any]:
        """A page of the money that moved in a time, oldest first, and where the next one begins."""
        after_at, _, after_reference = after.partition("~")
        values = {
            "since": since_s, "until": until_s, "after_at": float(after_at or -1.0), "after": after_reference, "most": PAGE,
        }  # fmt: skip
        rows = [dict(row) for row in self._base.execute(MOVEMENTS, values)]
        end = f"{rows[-1]['at']!r}~{rows[-1]['reference']}" if len(rows) == PAGE else ""
        return {"movements": rows, "next": end}

    def close(self) -> None:
        """Closes the books."""
        self._base.close()
