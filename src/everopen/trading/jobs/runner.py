"""One worker's hands for durable jobs.

Every worker looks for due jobs; leases and SKIP LOCKED see to it that each is taken by one. While a job runs its lease is
lengthened; a worker that dies stops doing so, and after at most one lease another takes the job up. A run that was
overtaken is cancelled, and could not write its result anyway.

Polling costs two index probes per turn. LISTEN was turned down: it saves at most one pause per job, needs a connection that
does nothing else, and after a failover one has to poll anyway to find what was announced to nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from everopen.base.clock import Clock, Rng
from everopen.base.errors import StoreUnavailable
from everopen.store import Primary
from everopen.trading.jobs import queue
from everopen.trading.jobs.job import Job, JobContext, Overtaken
from everopen.trading.jobs.queue import Taken
from everopen.trading.settings import TradingSettings

if TYPE_CHECKING:
    from everopen.trading.payments.provider import Provider

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 900.0
log = logging.getLogger(__name__)


def pause_s(tries: int, jitter: float) -> float:
    """How long a job rests after so many failures: 2 s, doubled each time, at most a quarter of an hour, spread by ±25 %
    (`jitter` in 0..1)."""
    return min(FIRST_PAUSE_S * 2.0 ** min(tries - 1, 20), LONGEST_PAUSE_S) * (0.75 + 0.5 * jitter)


class Runner:
    """Takes due jobs and runs them, a few at a time."""

    def __init__(
        self,
        settings: TradingSettings,
        primary: Primary,
        jobs: Mapping[str, Job],
        providers: Mapping[str, Provider],
        *,
        clock: Clock,
        rng: Rng,
        worker: str = "",
    ) -> None:
        self._settings = settings
        self._primary = primary
        self._jobs = jobs
        self._providers = providers
        self._clock = clock
        self._rng = rng
        self._worker = worker
        self._repeating = {
            name: job.every_s(settings) for name, job in jobs.items() if job.every_s is not None
        }
        self._held: dict[int, tuple[Taken, asyncio.Task[None]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.counters = {
            "jobs_done_total": 0,
            "jobs_failed_total": 0,
            "jobs_dead_total": 0,
            "jobs_overtaken_total": 0,
        }

    @property
    def running(self) -> int:
        """Jobs that this worker runs now."""
        return len(self._held)

    async def start(self) -> None:
        """Starts to look for due jobs; returns at once."""
        self._tasks = [
            asyncio.create_task(self._look(), name="jobs"),
            asyncio.create_task(self._keep(), name="job-leases"),
        ]

    async def stop(self, grace_s: float = 2.0) -> None:
        """Takes no more, and lets what runs end for a while. What does not is taken up elsewhere when its lease ends."""
        if self._tasks:
            self._tasks[0].cancel()
        running = [task for _, task in self._held.values()]
        if running:
            await asyncio.wait(running, timeout=grace_s)
        for task in (*running, *self._tasks):
            task.cancel()
        await asyncio.gather(*running, *self._tasks, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            try:
                await self.turn()
            except StoreUnavailable:
                pass
            except Exception:
                log.exception("Looking for due jobs failed.")
            await asyncio.sleep(self._settings.jobs_poll_s * (0.75 + 0.5 * self._rng.random()))

    async def turn(self) -> int:
        """Plans what repeats, takes what is due and begins with it; returns how many."""
        free = self._settings.jobs_concurrency - len(self._held)
        if free <= 0:
            return 0
        await self._primary.run(lambda connection: queue.plan(connection, self._repeating), deadline_s=5.0)
        # Not repeated when the connection breaks: jobs taken by a call whose answer was lost would wait for their leases.
        taken = await self._primary.run(
            lambda connection: queue.take(
                connection,
                self._jobs,
                most=free,
                lease_s=self._settings.jobs_lease_s,
                worker=self._worker,
            ),
            retry=False,
            deadline_s=5.0,
        )
        for job in taken:
            self._held[job.id] = (job, asyncio.create_task(self._do(job), name=f"job-{job.name}-{job.id}"))
        return len(taken)

    async def _keep(self) -> None:
        """Lengthens the leases of what runs, and ends what was overtaken."""
        lease_s = self._settings.jobs_lease_s
        while True:
            await asyncio.sleep(lease_s / 3)
            held = {job_id: job.attempt for job_id, (job, _) in self._held.items()}
            if not held:
                continue
            try:
                ours = await self._primary.run(
                    lambda connection, held=held: queue.keep(connection, held, lease_s=lease_s),  # type: ignore[misc]
                    deadline_s=lease_s / 2,
                )
            except StoreUnavailable:
                continue  # without the store nobody else takes them either; the attempt's number decides afterwards
            except Exception:
                log.exception("Lengthening the leases of %d jobs failed.", len(held))
                continue
            for job_id in held.keys() - ours:
                entry = self._held.get(job_id)
                if entry is not None and entry[0].attempt == held[job_id]:
                    entry[1].cancel()

    async def _do(self, taken: Taken) -> None:
        try:
            await self._try(taken)
        except asyncio.CancelledError:
            log.warning("Job %s %d was ended here; another worker has it or will.", taken.name, taken.id)
            self.counters["jobs_overtaken_total"] += 1
        except StoreUnavailable:
            log.warning(
                "The result of job %s %d could not be written; it will run again.", taken.name, taken.id
            )
        except Exception:
            log.exception(
                "The result of job %s %d could not be written; it will run again.", taken.name, taken.id
            )
        finally:
            self._held.pop(taken.id, None)

    async def _try(self, taken: Taken) -> None:
        job = self._jobs[taken.name]
        if taken.tries > job.attempts_max:  # its workers died, each time
            await self._failed(taken, job, "Each worker that had it died or lost it.")
            return
        context = JobContext(
            primary=self._primary,
            settings=self._settings,
            clock=self._clock,
            payload=taken.payload,
            providers=self._providers,
            id=taken.id,
            attempt=taken.attempt,
            due_at=taken.due_at,
        )
        try:
            async with asyncio.timeout(job.timeout_s):
                said = await job.run(context)
        except Overtaken:
            self.counters["jobs_overtaken_total"] += 1
            return
        except TimeoutError:
            await self._failed(taken, job, f"It took longer than {job.timeout_s:g} s.")
        except Exception as error:
            log.exception("Job %s %d failed at attempt %d.", taken.name, taken.id, taken.attempt)
            await self._failed(taken, job, f"{type(error).__name__}: {error}")
        else:
            log.info("Job %s: %s", taken.name, said)
            if await self._primary.run(lambda connection: queue.finish(connection, taken, said)):
                self.counters["jobs_done_total"] += 1
            else:
                self.counters["jobs_overtaken_total"] += 1

    async def _failed(self, taken: Taken, job: Job, why: str) -> None:
        dead = taken.tries >= job.attempts_max
        rest_s = pause_s(taken.tries, self._rng.random())
        if not await self._primary.run(
            lambda connection: queue.fail(connection, taken, why, pause_s=rest_s, dead=dead)
        ):
            self.counters["jobs_overtaken_total"] += 1
            return
        self.counters["jobs_failed_total"] += 1
        if dead:
            self.counters["jobs_dead_total"] += 1
            log.error("Job %s %d is dead after %d attempts: %s", taken.name, taken.id, taken.tries, why)
