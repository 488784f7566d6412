"""Calls of `range`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from everopen.api.shapes_range import (
    CategoriesAnswer,
    CategoriesBody,
    GroupAnswer,
    GroupEntry,
    GroupsAnswer,
    GroupsBody,
    PutAnswer,
)
from everopen.client.caller import Caller


class RangeCalls(Caller):
    """Calls of `range`."""

    async def list_categories(self, *, deadline_s: float | None = None) -> CategoriesAnswer:
        """The tree of categories: `GET /api/categories`."""
        found: CategoriesAnswer = await self.call(
            "GET", "/api/categories", CategoriesAnswer, deadline_s=deadline_s
        )
        return found

    async def put_categories(
        self, body: CategoriesBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> PutAnswer:
        """Add or change categories: `PUT /api/categories`."""
        found: PutAnswer = await self.call(
            "PUT", "/api/categories", PutAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def list_groups(
        self, *, limit: int | None = None, after: str | None = None, deadline_s: float | None = None
    ) -> GroupsAnswer:
        """Product groups: `GET /api/groups`."""
        found: GroupsAnswer = await self.call(
            "GET", "/api/groups", GroupsAnswer, query={"limit": limit, "after": after}, deadline_s=deadline_s
        )
        return found

    async def each_groups(
        self, *, limit: int | None = None, deadline_s: float | None = None
    ) -> AsyncIterator[GroupEntry]:
        """Product groups, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_groups(limit=limit, deadline_s=deadline_s, after=after)
            for entry in page.groups:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def put_groups(
        self, body: GroupsBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> PutAnswer:
        """Add or change product groups: `PUT /api/groups`."""
        found: PutAnswer = await self.call(
            "PUT", "/api/groups", PutAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def get_group(self, id: str | UUID, *, deadline_s: float | None = None) -> GroupAnswer:
        """One product group with its variants: `GET /api/groups/{id}`."""
        found: GroupAnswer = await self.call(
            "GET", "/api/groups/{id}", GroupAnswer, places={"id": id}, deadline_s=deadline_s
        )
        return found
