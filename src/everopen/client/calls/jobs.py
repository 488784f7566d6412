"""Calls of `jobs`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from everopen.api.shapes_events import JobAnswer, JobsAnswer
from everopen.client.caller import Caller


class JobsCalls(Caller):
    """Calls of `jobs`."""

    async def list_jobs(
        self,
        *,
        status: str | None = None,
        name: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        deadline_s: float | None = None,
    ) -> JobsAnswer:
        """What the shop does by itself and later: waiting, running, done and dead jobs: `GET /api/jobs`."""
        found: JobsAnswer = await self.call(
            "GET",
            "/api/jobs",
            JobsAnswer,
            query={"status": status, "name": name, "limit": limit, "after": after},
            deadline_s=deadline_s,
        )
        return found

    async def each_jobs(
        self,
        *,
        status: str | None = None,
        name: str | None = None,
        limit: int | None = None,
        deadline_s: float | None = None,
    ) -> AsyncIterator[JobAnswer]:
        """What the shop does by itself and later: waiting, running, done and dead jobs, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_jobs(
                status=status, name=name, limit=limit, deadline_s=deadline_s, after=after
            )
            for entry in page.jobs:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def retry_job(
        self, id: str | UUID, *, key: str | None = None, deadline_s: float | None = None
    ) -> JobAnswer:
        """Try a dead job again: `POST /api/jobs/{id}/retry`."""
        found: JobAnswer = await self.call(
            "POST", "/api/jobs/{id}/retry", JobAnswer, places={"id": id}, key=key, deadline_s=deadline_s
        )
        return found
