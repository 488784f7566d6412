"""Durable work: what must be done although every process may die meanwhile.

A job is a row. Workers take due rows under a lease, run the function that `table.JOBS` has under the row's name, and write
the result; a worker that dies leaves a lease that ends. (`table` is not imported here: it imports the rooms that use this.)
"""

from everopen.trading.jobs.job import Job, JobContext, Overtaken
from everopen.trading.jobs.queue import enqueue

__all__ = ["Job", "JobContext", "Overtaken", "enqueue"]
