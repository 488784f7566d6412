"""What load clients come for: an order, a look, a whole visit with a cart, a return. Each errand makes requests, reads the
answers, and writes down what its client asked and saw; how requests are sent, repeated and timed is `load`'s affair."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from everopen.base.clock import Rng
from everopen.base.errors import InputError
from everopen.drill.baskets import Basket
from everopen.drill.history import outcome_of
from everopen.drill.history_operations import Kind, Operation
from everopen.drill.wire import Reply, Target, Wire
from everopen.drill.workload import LoadSettings

RETURNABLE_MAX = 5_000
RETURN_AFTER_S = 3.0
"""A payment takes a moment; who returns goods earlier is rightly refused."""
LEAVES = 0.3
"""Share of visitors who look at their cart and go."""
EMAIL = "load@example.com"
Lines = tuple[tuple[str, int], ...]


class Request:
    """One request of one client, with all its tries. Times are of the performance counter."""

    __slots__ = (
        "client", "cut", "data", "done", "due", "key", "kind", "lines", "order", "sent", "tried", "tries", "visit", "wire",
    )  # fmt: skip

    def __init__(
        self,
        kind: Kind,
        data: bytes,
        due: float,
        *,
        client: str,
        key: str = "",
        lines: Lines = (),
        order: str = "",
        visit: Visit | None = None,
    ) -> None:
        self.kind = kind
        self.data = data
        self.due = due
        self.client = client
        self.key = key
        self.lines = lines
        self.order = order
        self.visit = visit
        self.tries = 0
        self.sent = 0.0
        """First try."""
        self.tried = 0.0
        """Last try."""
        self.cut = False
        """The client itself hung up on the last try."""
        self.done = False
        self.wire: Wire | None = None

    def outcome(self, status: int) -> str:
        """The class of its answer."""
        if status == 201 and self.kind not in ("order", "checkout"):
            return "done"
        return outcome_of(status)


class Visit:
    """A session: its cookie, and what it still means to do."""

    __slots__ = ("client", "cookie", "number", "steps")

    def __init__(self, client: str, steps: list[tuple[Kind, Lines]]) -> None:
        self.client = client
        self.cookie = ""
        self.steps = steps
        self.number = 0


class Errands:
    """Makes requests, and reads their answers. `wall_s` turns the performance counter into Unix time."""

    def __init__(
        self,
        settings: LoadSettings,
        target: Target,
        rng: Rng,
        *,
        prefix: str,
        wall_s: Callable[[float], float],
        operator_key: str | None = None,
        baskets: Sequence[Basket] = (),
    ) -> None:
        kinds = {kind for kind, _ in settings.mix}
        if "return" in kinds and operator_key is None:
            raise InputError("Returns need the operator's key.", "Give --secrets HOME/secrets.json.")
        if "basket" in kinds and not baskets:
            raise InputError("There are no baskets.", "Give --baskets FILE.csv.")
        self._settings = settings
        self._target = target
        self._rng = rng
        self._prefix = prefix
        self._wall_s = wall_s
        self._operator_key = operator_key
        self._baskets = baskets
        self._basket = 0
        self._made = 0
        self._returnable: deque[tuple[float, str, Lines]] = deque(maxlen=RETURNABLE_MAX)
        self._cut = {sku: self._order_parts(((sku, settings.quantity),)) for sku in settings.skus}

    def _order_parts(self, lines: Lines) -> tuple[bytes, bytes]:
        body = msgspec.json.encode(
            {
                "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
                "customer": {"email": EMAIL},
                "payment": {"provider": "sandbox", "token": self._settings.token},
            }
        )
        before, _, after = self._target.request("POST", "/api/orders", body, key="\x00").partition(b"\x00")
        return before, after

    # -- first requests ------------------------------------------------------------------------------------------

    def begin(self, kind: str, due: float) -> Request:
        """The first request of a new client of a kind."""
        self._made += 1
        key = f"{self._prefix}-{self._made}"
        if kind == "return":
            if (found := self._return(key, due)) is not None:
                return found
            kind = "wide"
        if kind == "basket":
            lines = self._baskets[self._basket % len(self._baskets)].lines
            self._basket += 1
            return self._order(key, lines, self._order_parts(lines), due)
        sku = self._sku(hot=kind == "hot")
        if kind == "browse":
            return self._look(sku, due, key)
        if kind == "visit":
            return self._next_of(Visit(key, self._plan_visit()), due)
        return self._order(key, ((sku, self._settings.quantity),), self._cut[sku], due)

    def _sku(self, *, hot: bool = False) -> str:
        skus = self._settings.skus
        return skus[0] if hot or len(skus) == 1 else skus[int(self._rng.random() * len(skus))]

    def _order(self, key: str, lines: Lines, parts: tuple[bytes, bytes], due: float) -> Request:
        before, after = parts
        return Request("order", before + key.encode() + after, due, client=key, key=key, lines=lines)

    def _look(self, sku: str, due: float, client: str, visit: Visit | None = None) -> Request:
        data = self._target.request("GET", f"/api/products/{sku}")
        return Request("read_stock", data, due, client=client, lines=((sku, 0),), visit=visit)

    def _return(self, key: str, due: float) -> Request | None:
        if not self._returnable or self._returnable[0][0] > due - RETURN_AFTER_S:
            return None
        _, order, lines = self._returnable.popleft()
        body = {
            "lines": [{"sku": sku, "quantity": n} for sku, n in lines],
            "reason": "drill",
            "restock": True,
        }
        data = self._target.request(
            "POST",
            f"/api/orders/{order}/refunds",
            msgspec.json.encode(body),
            key=key,
            bearer=self._operator_key,
        )
        return Request("restock", data, due, client=key, key=key, lines=lines, order=order)

    # -- a visit -------------------------------------------------------------------------------------------------

    def _plan_visit(self) -> list[tuple[Kind, Lines]]:
        first, second = self._sku(), self._sku()
        steps: list[tuple[Kind, Lines]] = [
            ("read_stock", ((first, 0),)),
            ("cart_add", ((first, 1),)),
            ("read_cart", ()),
            ("cart_add", ((second, 2),)),
            ("read_cart", ()),
        ]
        if self._rng.random() < 0.3:
            steps += [("cart_set", ((first, 3),)), ("read_cart", ())]
        if self._rng.random() >= LEAVES:
            steps += [("checkout", ()), ("read_cart", ())]
        return steps

    def _next_of(self, visit: Visit, due: float) -> Request:
        kind, lines = visit.steps[visit.number]
        visit.number += 1
        key = f"{visit.client}-{visit.number}"
        if kind == "read_stock":
            return self._look(lines[0][0], due, visit.client, visit)
        method, path, body = "GET", "/api/cart", b""
        if kind == "cart_add":
            method, path = "POST", "/api/cart/lines"
            body = msgspec.json.encode({"sku": lines[0][0], "quantity": lines[0][1]})
        elif kind == "cart_set":
            method, path = "PATCH", f"/api/cart/lines/{lines[0][0]}"
            body = msgspec.json.encode({"quantity": lines[0][1]})
        elif kind == "checkout":
            method, path = "POST", "/api/checkout"
            payment = {"provider": "sandbox", "token": self._settings.token}
            body = msgspec.json.encode({"customer": {"email": EMAIL}, "payment": payment})
        data = self._target.request(
            method, path, body, key=key if method != "GET" else None, cookie=visit.cookie
        )
        return Request(
            kind,
            data,
            due,
            client=visit.client,
            key=key if method != "GET" else "",
            lines=lines,
            visit=visit,
        )

    # -- answers -------------------------------------------------------------------------------------------------

    def over(
        self, request: Request, outcome: str, reply: Reply, now: float
    ) -> tuple[Operation, Request | None]:
        """What the client saw, and its next request if it has one."""
        document = _document(reply) if 200 <= reply.status < 300 or reply.status == 409 else {}
        good = outcome in ("acknowledged", "read", "done")
        seen, order, status, total = request.lines if good else (), request.order, "", None
        if request.kind in ("order", "checkout") and good and "id" in document:
            order, status = str(document["id"]), str(document.get("status", ""))
            total = int(document["total"]["amount"])
            if "lines" in document:
                seen = tuple((line["sku"], line["quantity"]) for line in document["lines"])
            if self._operator_key is not None:
                self._returnable.append((now, order, seen))
        elif request.kind == "read_stock" and good:
            available = document.get("available")
            seen = () if available is None else ((request.lines[0][0], int(available)),)
        elif request.kind in ("read_cart", "cart_add", "cart_set") and good:
            seen = tuple((line["sku"], line["quantity"]) for line in document.get("lines", ()))
        elif request.kind == "order" and reply.status == 409 and "available" in document:
            seen = ((str(document.get("sku", request.lines[0][0])), int(document["available"])),)
        operation = Operation(
            client=request.client,
            kind=request.kind,
            sent=self._wall_s(request.sent or request.due),
            ended=self._wall_s(now),
            outcome=outcome,
            status=reply.status,
            key=request.key,
            due=self._wall_s(request.due),
            tries=max(1, request.tries),
            replayed=reply.replayed,
            lines=request.lines,
            seen=seen,
            order=order,
            order_status=status,
            total=total,
            token=self._settings.token,
        )
        visit = request.visit
        if visit is None or not good or visit.number >= len(visit.steps):
            return operation, None
        visit.cookie = reply.cookie or visit.cookie
        return operation, self._next_of(visit, now)


def _document(reply: Reply) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(reply.body)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
