"""Durable jobs, for who looks after the shop: what runs, what failed for good, and once more please."""

from __future__ import annotations

from typing import cast

import msgspec

from everopen.api import cursors
from everopen.api.hot import fingerprint
from everopen.api.problems import Refusal
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shapes_events import JobAnswer, JobsAnswer
from everopen.api.shop import Shop
from everopen.trading.jobs import queue
from everopen.trading.jobs.queue import NotDead, Status
from everopen.trading.jobs.table import JOBS
from everopen.trading.orders import KeyReused

STATUSES = ("waiting", "running", "done", "dead")


async def list_jobs(shop: Shop, call: Call) -> Answer:
    """A page of jobs, newest first."""
    status, name = call.parameters.get("status"), call.parameters.get("name")
    if status is not None and status not in STATUSES:
        raise Refusal("bad-input", f"`status` is one of {', '.join(STATUSES)}.")
    if name is not None and name not in JOBS:
        raise Refusal("bad-input", f"`name` is one of {', '.join(JOBS)}.")
    limit, before = cursors.read_page(call, "jobs", tuple[int])
    found = await queue.list_jobs(
        shop.primary,
        status=cast(Status | None, status),
        name=name,
        before=before[0] if before else None,
        limit=limit + 1,
    )
    shown, following = cursors.cut(found, limit, "jobs", lambda job: (job.id,))
    return Answer(JobsAnswer([_shown(job) for job in shown], following))


async def retry_job(shop: Shop, call: Call) -> Answer:
    """Gives a dead job its attempts back."""
    text = call.parameters["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refusal("not-found", "There is no such job.")
    outcome = await queue.retry(
        shop.primary, int(text), key=call.key, fingerprint=fingerprint("retry job", text)
    )
    if isinstance(outcome, KeyReused):
        raise Refusal("key-reused", "This `Idempotency-Key` was used for another request.")
    if isinstance(outcome, NotDead):
        raise Refusal(
            "conflict", "Only a dead job can be retried, and a repeating one only before its next due time."
        )
    if outcome is None:
        raise Refusal("not-found", "There is no such job.")
    return Answer(_shown(outcome))


def _shown(job: queue.JobView) -> JobAnswer:
    return JobAnswer(**msgspec.structs.asdict(job))


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/api/jobs",
        "listJobs",
        "What the shop does by itself and later: waiting, running, done and dead jobs",
        list_jobs,
        JobsAnswer,
        parameters=(
            Parameter("status", "Only those.", choices=STATUSES),
            Parameter("name", "Only those."),
            *cursors.page_parameters(),
        ),
        scope="events:write",
    ),
    Route(
        "POST",
        "/api/jobs/{id}/retry",
        "retryJob",
        "Try a dead job again",
        retry_job,
        JobAnswer,
        refusals=("not-found", "conflict"),
        parameters=(Parameter("id", "The job's number.", "path"),),
        scope="events:write",
        keyed=True,
    ),
)
