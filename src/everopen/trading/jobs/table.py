"""The table of all jobs: what the shop does by itself, or has been asked to do later. Each subject brings its own rows.

What is not here: payments. Each order has one, so a job row per payment would double what an order writes; the intent
is itself the durable row, with a lease (`payments.sql`), and ends reservations too, since only the provider can say that
no money moved. Deliveries of events neither: a subscriber's row holds its position and a lease (`trading/events`)."""

from __future__ import annotations

from everopen.trading import housekeeping, invoices, shipments, stock
from everopen.trading.events import relay
from everopen.trading.jobs.job import Job
from everopen.trading.payments.reconcile import reconcile
from everopen.trading.payments.staff import end_old_authorisations
from everopen.trading.people.desk import forget_people

JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        Job("forget", housekeeping.forget, every_s=lambda settings: settings.housekeeping_s),
        Job(
            "reconcile",
            lambda context: reconcile(context.primary, context.settings, context.providers, context.clock),
            every_s=lambda settings: settings.reconcile_hours * 3600,
            timeout_s=3600.0,
        ),
        Job(
            "end-authorisations",
            lambda context: end_old_authorisations(context.primary, context.settings),
            every_s=lambda settings: settings.housekeeping_s * 10,
        ),
        Job("forget-people", forget_people, every_s=lambda settings: settings.housekeeping_s),
        Job("forget-events", relay.forget_events, every_s=lambda settings: settings.housekeeping_s),
        Job("announce-low-stock", stock.announce, every_s=lambda settings: settings.low_stock_s),
        Job(
            "documents",
            lambda context: invoices.issue_documents(context.primary, context.settings),
            every_s=lambda settings: settings.documents_s,
        ),
        Job(
            "arrivals",
            lambda context: shipments.complete_shipped(context.primary, context.settings),
            every_s=lambda settings: 3600.0,
        ),
    )
}
"""Name to job. The name is in rows: it may not change its meaning."""
