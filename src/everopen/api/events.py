"""Events for others: subscribers and their deliveries, live streams."""

from __future__ import annotations

from typing import Any, Literal, NoReturn, cast
from uuid import UUID

import msgspec

from everopen.api import cursors
from everopen.api.catalogue import replay_header
from everopen.api.hot import fingerprint
from everopen.api.problems import Refusal, unavailable
from everopen.api.routes import Answer, Call, Parameter, Route, Stream
from everopen.api.shapes_events import (
    DeliveriesAnswer,
    DeliveryAnswer,
    NewSubscriberAnswer,
    ReplayAnswer,
    ReplayBody,
    SubscriberAnswer,
    SubscriberBody,
    SubscribersAnswer,
)
from everopen.api.shop import Shop
from everopen.trading.events import facts, subscribers
from everopen.trading.events.catalogue import PUBLIC, TOPICS
from everopen.trading.events.follow import TooManyFollowers
from everopen.trading.events.sender import check_url
from everopen.trading.events.subscribers import Added, NoSuchSubscriber, Replayed, SubscriberView
from everopen.trading.orders import KeyReused

# --- subscribers


async def add_subscriber(shop: Shop, call: Call) -> Answer:
    """Adds a subscriber and tells its secret."""
    body: SubscriberBody = call.body
    problem = check_url(body.url, shop.events)
    if problem:
        raise Refusal("bad-input", f"`url`: {problem}")
    topics = list(dict.fromkeys(body.topics))
    require_topics(topics)
    outcome = await subscribers.add(
        shop.primary,
        body.url,
        topics,
        body.description,
        key=call.key,
        fingerprint=fingerprint("subscriber", body.url, topics, body.description),
    )
    if not isinstance(outcome, Added):
        _refuse(outcome)
    answer = NewSubscriberAnswer(**msgspec.structs.asdict(_shown(outcome.subscriber)), secret=outcome.secret)
    return Answer(answer, replay_header(outcome.replayed))


async def list_subscribers(shop: Shop, call: Call) -> Answer:
    """A page of subscribers."""
    limit, after = cursors.read_page(call, "subscribers", tuple[UUID])
    found = await subscribers.list_all(shop.primary, after=after[0] if after else None, limit=limit + 1)
    shown, following = cursors.cut(found, limit, "subscribers", lambda view: (view.id,))
    return Answer(SubscribersAnswer([_shown(view) for view in shown], following))


async def get_subscriber(shop: Shop, call: Call) -> Answer:
    """One subscriber."""
    found = await subscribers.find(shop.primary, _id(call))
    if found is None:
        _refuse(NoSuchSubscriber())
    return Answer(_shown(found))


async def delete_subscriber(shop: Shop, call: Call) -> Answer:
    """Removes a subscriber."""
    subscriber_id = _id(call)
    outcome = await subscribers.remove(
        shop.primary, subscriber_id, key=call.key, fingerprint=fingerprint("unsubscribe", subscriber_id)
    )
    if outcome is not None:
        _refuse(outcome)
    return Answer(None)


async def resume_subscriber(shop: Shop, call: Call) -> Answer:
    """Takes a paused subscriber up again."""
    subscriber_id = _id(call)
    outcome = await subscribers.resume(
        shop.primary, subscriber_id, key=call.key, fingerprint=fingerprint("resume subscriber", subscriber_id)
    )
    if not isinstance(outcome, SubscriberView):
        _refuse(outcome)
    return Answer(_shown(outcome))


async def replay(shop: Shop, call: Call) -> Answer:
    """Sends dead letters, or everything since an event, again."""
    body: ReplayBody = call.body
    subscriber_id = _id(call)
    after = None if body.after is None else facts.parse_id(body.after)
    outcome = await subscribers.replay(
        shop.primary,
        subscriber_id,
        after,
        key=call.key,
        fingerprint=fingerprint("replay", subscriber_id, after),
    )
    if not isinstance(outcome, Replayed):
        _refuse(outcome)
    return Answer(ReplayAnswer(outcome.revived))


async def list_deliveries(shop: Shop, call: Call) -> Answer:
    """What waits for another attempt and what is dead."""
    status = call.parameters.get("status")
    if status not in (None, "waiting", "dead"):
        raise Refusal("bad-input", "`status` is `waiting` or `dead`.")
    limit, before = cursors.read_page(call, "deliveries", tuple[int])
    subscriber_id = _id(call)
    if await subscribers.find(shop.primary, subscriber_id) is None:
        _refuse(NoSuchSubscriber())
    found = await subscribers.deliveries(
        shop.primary,
        subscriber_id,
        status=cast(Literal["waiting", "dead"] | None, status),
        before=before[0] if before else None,
        limit=limit + 1,
    )
    shown, following = cursors.cut(found, limit, "deliveries", lambda view: (facts.parse_id(view.event),))
    return Answer(
        DeliveriesAnswer([DeliveryAnswer(*msgspec.structs.astuple(view)) for view in shown], following)
    )


# --- live


async def follow_events(shop: Shop, call: Call) -> Answer:
    """Server-sent events of the whole shop."""
    topics = [name for name in call.parameters.get("topics", "").split(",") if name]
    require_topics(topics)
    if not set(topics) <= set(PUBLIC):
        raise Refusal("bad-input", "`topics`: a confidential one is told by webhook only.")
    return await _follow(shop, call, topics=topics)


async def follow_order(shop: Shop, call: Call) -> Answer:
    """Server-sent events of one order; its id can't be guessed, and is what shows that one may see it."""
    try:
        order_id = UUID(call.parameters["id"])
    except ValueError:
        raise Refusal("not-found", "There is no such order.") from None
    if await shop.order(order_id) is None:
        raise Refusal("not-found", "There is no such order.")
    return await _follow(shop, call, stream=order_id)


async def _follow(shop: Shop, call: Call, **choice: Any) -> Answer:
    # A browser that comes again names the last event it has, and sends the address as it was.
    named = call.header(b"last-event-id") or call.parameters.get("after", "")
    after = facts.parse_id(named) if named else None
    if named and after is None:
        raise Refusal("bad-input", f"“{named[:40]}” is no event's id; they look like evt_42.")
    try:
        pieces = await shop.followers.follow(after, **choice)
    except TooManyFollowers:
        raise unavailable(
            "This worker has as many live followers as it may.", shop.settings.retry_after_s, elsewhere=True
        ) from None
    return Answer(Stream(pieces), [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")])


# --- helpers


def require_topics(names: list[str]) -> None:
    """Raises a 422 `Refusal` for a topic that is not in the catalogue."""
    unknown = [name for name in names if name not in TOPICS]
    if unknown:
        raise Refusal(
            "bad-input", f"`topics`: there is no “{unknown[0][:80]}”; there are {', '.join(TOPICS)}."
        )


def _id(call: Call) -> UUID:
    try:
        return UUID(call.parameters["id"])
    except ValueError:
        raise Refusal("not-found", "There is no such subscriber.") from None


def _refuse(outcome: NoSuchSubscriber | KeyReused) -> NoReturn:
    if isinstance(outcome, KeyReused):
        raise Refusal("key-reused", "This `Idempotency-Key` was used for another request.")
    raise Refusal("not-found", "There is no such subscriber.")


def _shown(view: SubscriberView) -> SubscriberAnswer:
    return SubscriberAnswer(
        view.id,
        view.url,
        list(view.topics),
        view.description,
        view.status,
        view.reason,
        view.position,
        view.behind,
        view.waiting,
        view.dead,
        view.failing_since,
        view.created_at,
    )


_ID = Parameter("id", "The subscriber's id.", "path")
_AFTER = Parameter(
    "after", "Begin after this event; `Last-Event-ID` goes before. Without both: with what happens next."
)
_SCOPE = "events:write"
ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/api/subscribers",
        "addSubscriber",
        "Have events delivered as signed webhooks",
        add_subscriber,
        NewSubscriberAnswer,
        SubscriberBody,
        201,
        scope=_SCOPE,
        keyed=True,
    ),
    Route(
        "GET",
        "/api/subscribers",
        "listSubscribers",
        "Who is told of events, and how well it goes",
        list_subscribers,
        SubscribersAnswer,
        parameters=cursors.page_parameters(),
        scope=_SCOPE,
    ),
    Route(
        "GET",
        "/api/subscribers/{id}",
        "getSubscriber",
        "One subscriber",
        get_subscriber,
        SubscriberAnswer,
        refusals=("not-found",),
        parameters=(_ID,),
        scope=_SCOPE,
    ),
    Route(
        "DELETE",
        "/api/subscribers/{id}",
        "deleteSubscriber",
        "Tell a subscriber nothing more",
        delete_subscriber,
        status=204,
        refusals=("not-found",),
        parameters=(_ID,),
        scope=_SCOPE,
        keyed=True,
    ),
    Route(
        "POST",
        "/api/subscribers/{id}/resume",
        "resumeSubscriber",
        "Take a paused subscriber up again, where it stopped",
        resume_subscriber,
        SubscriberAnswer,
        refusals=("not-found",),
        parameters=(_ID,),
        scope=_SCOPE,
        keyed=True,
    ),
    Route(
        "POST",
        "/api/subscribers/{id}/replay",
        "replayEvents",
        "Send dead letters, or everything since an event, again",
        replay,
        ReplayAnswer,
        ReplayBody,
        refusals=("not-found",),
        parameters=(_ID,),
        scope=_SCOPE,
        keyed=True,
    ),
    Route(
        "GET",
        "/api/subscribers/{id}/deliveries",
        "listDeliveries",
        "Events that did not go through at once: waiting and dead ones",
        list_deliveries,
        DeliveriesAnswer,
        refusals=("not-found",),
        parameters=(
            _ID,
            Parameter("status", "Only those.", choices=("waiting", "dead")),
            *cursors.page_parameters(),
        ),
        scope=_SCOPE,
    ),
    Route(
        "GET",
        "/api/events",
        "followEvents",
        "Events as they happen (server-sent events)",
        follow_events,
        refusals=(),
        parameters=(Parameter("topics", "Names from the catalogue, with commas between; none: all."), _AFTER),
        scope="orders:read",
        streams=True,
    ),
    Route(
        "GET",
        "/api/orders/{id}/events",
        "followOrder",
        "What happens to one order, as it happens (server-sent events)",
        follow_order,
        refusals=("not-found",),
        parameters=(Parameter("id", "The order's id.", "path"), _AFTER),
        streams=True,
    ),
)
