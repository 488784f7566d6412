"""A worker that notes each step of its work and dies right after the one that it was told: run in the worker's process.

A step is what has just become durable somewhere else: a call of the database that came back, an answer of the provider. To
die between two steps is to die after the one and before the next, with nothing of it known here any more."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any


def watch(log: Path, die_at: str | None) -> None:
    """Notes every step in `log` as NAME#COUNT; at the one called `die_at`, the process is killed."""
    from everopen.store.primary import Link
    from everopen.trading.payments.sandbox import SandboxProvider

    seen: Counter[str] = Counter()

    def step(name: str) -> None:
        seen[name] += 1
        label = f"{name}#{seen[name]}"
        with open(log, "a") as file:
            file.write(label + "\n")
        if label == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    run = Link.run

    async def run_and_note(link: Link, work: Callable[..., Awaitable[Any]], **options: Any) -> Any:
        result = await run(link, work, **options)
        step(f"{work.__module__.removeprefix('everopen.')}:{work.__qualname__}")
        return result

    Link.run = run_and_note  # type: ignore[method-assign,assignment]

    def noted(name: str) -> Any:
        ask = getattr(SandboxProvider, name)

        @wraps(ask)
        async def ask_and_note(*arguments: Any) -> Any:
            reply = await ask(*arguments)
            step(f"provider:{name}")
            return reply

        return ask_and_note

    for name in ("charge", "authorise", "capture", "void", "refund", "withdraw"):
        setattr(SandboxProvider, name, noted(name))
