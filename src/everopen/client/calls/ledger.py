"""Calls of `ledger`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from everopen.api.shapes_money import TrialBalanceAnswer
from everopen.client.caller import Caller


class LedgerCalls(Caller):
    """Calls of `ledger`."""

    async def get_trial_balance(
        self, *, before: str | None = None, deadline_s: float | None = None
    ) -> TrialBalanceAnswer:
        """What each account holds in each currency: `GET /api/ledger/trial-balance`."""
        found: TrialBalanceAnswer = await self.call(
            "GET",
            "/api/ledger/trial-balance",
            TrialBalanceAnswer,
            query={"before": before},
            deadline_s=deadline_s,
        )
        return found

    async def get_statement(
        self,
        *,
        account: str | None = None,
        since: str | None = None,
        until: str | None = None,
        currency: str | None = None,
        deadline_s: float | None = None,
    ) -> bytes:
        """An account's entries in a period, as CSV: `GET /api/ledger/statement`."""
        found: bytes = await self.call(
            "GET",
            "/api/ledger/statement",
            bytes,
            query={"account": account, "since": since, "until": until, "currency": currency},
            deadline_s=deadline_s,
        )
        return found
