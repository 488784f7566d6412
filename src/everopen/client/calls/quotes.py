"""Calls of `quotes`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from everopen.api.shapes import QuoteAnswer, QuoteBody
from everopen.client.caller import Caller


class QuotesCalls(Caller):
    """Calls of `quotes`."""

    async def quote(
        self, body: QuoteBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> QuoteAnswer:
        """What a basket would cost now: `POST /api/quotes`."""
        found: QuoteAnswer = await self.call(
            "POST", "/api/quotes", QuoteAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found
