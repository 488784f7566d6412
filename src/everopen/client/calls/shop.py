"""Calls of `shop`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from typing import Any

from everopen.api.shapes import Ready
from everopen.client.caller import Caller


class ShopCalls(Caller):
    """Calls of `shop`."""

    async def ready(self, *, deadline_s: float | None = None) -> Ready:
        """Whether an order can be taken now: `GET /readyz`."""
        found: Ready = await self.call("GET", "/readyz", Ready, deadline_s=deadline_s)
        return found

    async def openapi(self, *, deadline_s: float | None = None) -> dict[str, Any]:
        """This document: `GET /api/openapi.json`."""
        found: dict[str, Any] = await self.call("GET", "/api/openapi.json", dict, deadline_s=deadline_s)
        return found
