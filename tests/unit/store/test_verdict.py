"""What an error means, as a table."""

from __future__ import annotations

import asyncpg
import pytest

from everopen.store.verdict import Verdict, is_doubtful, judge


def postgres(state: str, constraint: str | None = None) -> asyncpg.PostgresError:
    fields = {"C": state, "M": "text"} | ({"n": constraint} if constraint else {})
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(fields)
    return error


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (postgres("25006"), Verdict.LOST),
        (postgres("57P01"), Verdict.LOST),
        (postgres("57P02"), Verdict.LOST),
        (postgres("57P03"), Verdict.LOST),
        (postgres("08006"), Verdict.LOST),
        (postgres("08P01"), Verdict.LOST),
        (ConnectionResetError(), Verdict.LOST),
        (asyncpg.InterfaceError("connection is closed"), Verdict.LOST),
        (asyncpg.ConnectionDoesNotExistError("gone"), Verdict.LOST),
        (postgres("40P01"), Verdict.AGAIN),
        (postgres("40001"), Verdict.AGAIN),
        (postgres("53100"), Verdict.LATER),
        (postgres("53300"), Verdict.LATER),
        (postgres("58030"), Verdict.LATER),  # the primary's disk fails: soon another node is primary
        (postgres("23505", "idempotency_pkey"), Verdict.AGAIN),
        (postgres("23505", "products_sku_key"), Verdict.FINAL),
        (postgres("23514", "stock_reserved_within_on_hand"), Verdict.FINAL),
        (postgres("22021"), Verdict.FINAL),
        (ValueError("not ours"), Verdict.FINAL),
    ],
)
def test_an_error_means(error: BaseException, verdict: Verdict) -> None:
    assert judge(error) is verdict


@pytest.mark.parametrize(
    ("severity", "state", "message", "doubtful"),
    [
        ("WARNING", "01000", "canceling wait for synchronous replication due to user request", True),
        (
            "WARNING",
            "57P01",
            "canceling the wait for synchronous replication and terminating connection",
            True,
        ),
        ("WARNING", "01000", "something else", False),
        ("NOTICE", "00000", "canceling wait for synchronous replication", False),
    ],
)
def test_only_a_cut_wait_for_the_standby_makes_a_commit_doubtful(
    severity: str, state: str, message: str, doubtful: bool
) -> None:
    assert is_doubtful(severity, state, message) is doubtful
