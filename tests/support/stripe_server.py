"""A server that speaks the part of Stripe's API that the shop uses, with books of its own: on loopback, in a thread.

Written after the public reference, and as strict: unknown fields are refused, a key that comes again gives the very answer it
gave the first time (also an old 500), two requests under one key at once get 409, states that don't allow a call get
`payment_intent_unexpected_state`. Payment methods decide what happens (`pm_card_visa`, …), and tests may put faults in the way."""

from __future__ import annotations

import itertools
import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

KEY = "sk_test_everopen"
Json = dict[str, Any]

FIELDS = {
    "create": {
        "amount", "currency", "capture_method", "payment_method", "automatic_payment_methods[enabled]",
        "automatic_payment_methods[allow_redirects]", "metadata[everopen_intent]",
    },
    "confirm": {"error_on_requires_action", "confirmation_token"},
    "capture": {"amount_to_capture", "final_capture", "metadata[everopen_capture]"},
    "cancel": {"cancellation_reason"},
    "refund": {"payment_intent", "amount", "metadata[everopen_intent]"},
}  # fmt: skip


class Fault(Exception):
    """An error answer."""

    def __init__(self, status: int, kind: str, code: str = "", **extra: Any) -> None:
        super().__init__(code)
        self.status = status
        self.body = {"error": {"type": kind, "code": code, "message": f"{kind} {code}", **extra}}


class StripeServer:
    """The books and the rules; `Handler` is its mouth."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.intents: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self.charges: dict[str, Json] = {}
        self.balance: list[Json] = []
        self.keys: dict[str, tuple[Any, int, bytes] | None] = {}
        self.faults: deque[tuple[str, int | str]] = deque()
        """(part of a path, what happens to the next request of it): a status, or "lost": carried out, never answered."""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.multicapture = False
        self.findable = True
        """Whether the search finds what is new."""

    # --- what a path does

    def answer(self, method: str, path: str, query: str, fields: dict[str, str]) -> Json:
        if method == "POST":
            return self.post(path, fields)
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        if path == "/v1/payment_intents/search":
            found = re.fullmatch(r"metadata\['everopen_intent'\]:'([0-9a-f-]{36})'", asked["query"])
            assert found, asked
            hits = [
                one for one in self.intents.values() if one["metadata"].get("everopen_intent") == found[1]
            ]
            return {"object": "search_result", "data": hits[:1] if self.findable else [], "has_more": False}
        if found := re.fullmatch(r"/v1/payment_intents/(pi_\w+)", path):
            return self.known(self.intents, found[1])
        if path == "/v1/refunds":
            data = [one for one in self.refunds.values() if one["payment_intent"] == asked["payment_intent"]]
            return {"object": "list", "data": data, "has_more": False}
        if found := re.fullmatch(r"/v1/refunds/(re_\w+)", path):
            return self.known(self.refunds, found[1])
        if path == "/v1/balance_transactions":
            return self.page(asked)
        raise Fault(404, "invalid_request_error", "url_invalid")

    def known(self, where: dict[str, Json], name: str) -> Json:
        if name not in where:
            raise Fault(404, "invalid_request_error", "resource_missing")
        return where[name]

    def page(self, asked: dict[str, str]) -> Json:
        assert asked["expand[]"] == "data.source"
        rows = [
            row
            for row in reversed(self.balance)
            if int(asked["created[gte]"]) <= row["created"] < int(asked["created[lt]"])
        ]
        if after := asked.get("starting_after"):
            rows = rows[next(at for at, row in enumerate(rows) if row["id"] == after) + 1 :]
        limit = int(asked["limit"])
        return {"object": "list", "data": rows[:limit], "has_more": len(rows) > limit}

    def post(self, path: str, fields: dict[str, str]) -> Json:
        if path == "/v1/payment_intents":
            return self.create(fields)
        if path == "/v1/refunds":
            return self.refund(fields)
        found = re.fullmatch(r"/v1/payment_intents/(\w+)/(confirm|capture|cancel)", path)
        if not found:
            raise Fault(404, "invalid_request_error", "url_invalid")
        intent = self.known(self.intents, found[1])
        self.only(found[2], fields)
        return {"confirm": self.confirm, "capture": self.capture, "cancel": self.cancel}[found[2]](
            intent, fields
        )

    def only(self, what: str, fields: dict[str, str]) -> None:
        unknown = set(fields) - FIELDS[what]
        if unknown:
            raise Fault(400, "invalid_request_error", "parameter_unknown", param=sorted(unknown)[0])

    def create(self, fields: dict[str, str]) -> Json:
        self.only("create", fields)
        amount = int(fields["amount"])
        if fields["currency"] != fields["currency"].lower() or amount < 1:
            raise Fault(400, "invalid_request_error", "amount_too_small")
        method = fields.get("payment_method")
        if method is not None and not method.startswith("pm_"):
            raise Fault(400, "invalid_request_error", "resource_missing", param="payment_method")
        name = f"pi_{next(self.numbers)}"
        self.intents[name] = intent = {
            "id": name, "object": "payment_intent", "amount": amount, "amount_received": 0, "amount_capturable": 0,
            "currency": fields["currency"], "capture_method": fields["capture_method"], "payment_method": method,
            "status": "requires_confirmation" if method else "requires_payment_method", "last_payment_error": None,
            "metadata": {"everopen_intent": fields["metadata[everopen_intent]"]}, "created": int(time.time()), "latest_charge": None,
        }  # fmt: skip
        return intent

    def state(self, intent: Json, *allowed: str) -> None:
        if intent["status"] not in allowed:
            raise Fault(
                400, "invalid_request_error", "payment_intent_unexpected_state", payment_intent=dict(intent)
            )

    def confirm(self, intent: Json, fields: dict[str, str]) -> Json:
        self.state(
            intent,
            "requires_confirmation",
            *(("requires_payment_method",) if "confirmation_token" in fields else ()),
        )
        assert fields["error_on_requires_action"] == "true"
        method = fields.get("confirmation_token") or intent["payment_method"]
        if method in ("pm_card_chargeDeclined", "pm_card_threeDSecure2Required"):
            code = "card_declined" if "Declined" in method else "authentication_required"
            intent |= {
                "status": "requires_payment_method",
                "payment_method": None,
                "last_payment_error": {"code": code},
            }
            raise Fault(402, "card_error", code, decline_code="generic_decline", payment_intent=dict(intent))
        charge = {
            "id": f"ch_{next(self.numbers)}", "object": "charge", "amount": intent["amount"], "amount_captured": 0,
            "currency": intent["currency"], "metadata": dict(intent["metadata"]), "payment_intent": intent["id"],
        }  # fmt: skip
        self.charges[charge["id"]] = charge
        intent["latest_charge"] = charge["id"]
        if intent["capture_method"] == "manual":
            intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
        else:
            self.take(intent, intent["amount"], last=True)
        if method == "pm_lost":
            intent["payment_method"] = "pm_card_visa"
            self.faults.appendleft((intent["id"], "lost"))
        return intent

    def take(self, intent: Json, amount: int, *, last: bool) -> None:
        charge = self.charges[intent["latest_charge"]]
        charge["amount_captured"] += amount
        intent["amount_received"] += amount
        intent["amount_capturable"] = 0 if last else intent["amount"] - intent["amount_received"]
        if not intent["amount_capturable"]:
            intent["status"] = "succeeded"
        self.line("charge", amount, charge)

    def line(self, kind: str, amount: int, source: Json) -> None:
        self.balance.append(
            {
                "id": f"txn_{next(self.numbers)}", "object": "balance_transaction", "type": kind, "amount": amount,
                "currency": "usd", "created": int(time.time()), "source": dict(source),
            }
        )  # fmt: skip

    def capture(self, intent: Json, fields: dict[str, str]) -> Json:
        self.state(intent, "requires_capture")
        last = fields.get("final_capture", "true") == "true"
        if not last and not self.multicapture:
            raise Fault(400, "invalid_request_error", "parameter_unsupported", param="final_capture")
        amount = int(fields["amount_to_capture"])
        if not 0 < amount <= intent["amount_capturable"]:
            raise Fault(400, "invalid_request_error", "amount_too_large")
        intent["metadata"]["everopen_capture"] = fields["metadata[everopen_capture]"]
        self.take(intent, amount, last=last)
        return intent

    def cancel(self, intent: Json, fields: dict[str, str]) -> Json:
        self.state(
            intent, "requires_payment_method", "requires_confirmation", "requires_capture", "requires_action"
        )
        intent |= {"status": "canceled", "amount_capturable": 0}
        return intent

    def refund(self, fields: dict[str, str]) -> Json:
        self.only("refund", fields)
        intent = self.known(self.intents, fields["payment_intent"])
        amount = int(fields["amount"])
        given = sum(
            one["amount"]
            for one in self.refunds.values()
            if one["payment_intent"] == intent["id"] and one["status"] in ("succeeded", "pending")
        )
        if amount < 1 or given + amount > intent["amount_received"]:
            raise Fault(400, "invalid_request_error", "charge_already_refunded")
        name = f"re_{next(self.numbers)}"
        self.refunds[name] = refund = {
            "id": name, "object": "refund", "amount": amount, "currency": intent["currency"], "payment_intent": intent["id"],
            "status": "pending" if intent["payment_method"] == "pm_card_pendingRefund" else "succeeded",
            "metadata": {"everopen_intent": fields["metadata[everopen_intent]"]}, "created": int(time.time()),
        }  # fmt: skip
        if refund["status"] == "succeeded":
            self.line("refund", -amount, refund)
        return refund

    # --- what tests do behind the shop's back

    def refund_fails(self, name: str) -> None:
        """A refund that had succeeded comes back from the bank."""
        with self.lock:
            self.refunds[name]["status"] = "failed"
            self.line("refund_failure", self.refunds[name]["amount"], self.refunds[name])

    def cancel_by_hand(self, name: str) -> None:
        """Somebody cancels a hold in the dashboard."""
        with self.lock:
            self.cancel(self.intents[name], {})


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with kept-alive connections."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    books: StripeServer

    def do_GET(self) -> None:
        self.handle_call("GET")

    def do_POST(self) -> None:
        self.handle_call("POST")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def handle_call(self, method: str) -> None:
        books = self.books
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        fields = dict(parse_qsl(raw.decode("ascii"), strict_parsing=bool(raw), keep_blank_values=True))
        if method == "POST":
            assert self.headers["content-type"] == "application/x-www-form-urlencoded"
        key = self.headers.get("idempotency-key") if method == "POST" else None
        with books.lock:
            books.requests.append((method, parts.path, fields))
            happens = self.fault(parts.path)
            if isinstance(happens, int):
                status, body = happens, json.dumps({"error": {"type": "api_error"}}).encode()
                if happens >= 500 and key:
                    books.keys[key] = ((parts.path, fields), status, body)
            else:
                status, body = self.carried_out(method, parts, fields, key)
            lost = (
                happens == "lost"
                or self.fault(parts.path.split("/")[3] if parts.path.count("/") > 2 else "-") == "lost"
            )
        if lost:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fault(self, path: str) -> int | str | None:
        for fault in self.books.faults:
            if fault[0] in path:
                self.books.faults.remove(fault)
                return fault[1]
        return None

    def carried_out(
        self, method: str, parts: Any, fields: dict[str, str], key: str | None
    ) -> tuple[int, bytes]:
        books = self.books
        try:
            if self.headers.get("authorization") != f"Bearer {KEY}":
                raise Fault(401, "invalid_request_error", "api_key_invalid")
            if key is not None and key in books.keys:
                known = books.keys[key]
                if known is None:
                    raise Fault(409, "idempotency_error", "idempotency_key_in_use")
                if known[0] != (parts.path, fields):
                    raise Fault(400, "idempotency_error")
                return known[1], known[2]
            status, found = 200, books.answer(method, parts.path, parts.query, fields)
        except Fault as fault:
            status, found = fault.status, fault.body
            if status not in (400, 402):
                return status, json.dumps(found).encode()
        body = json.dumps(found).encode()
        if key is not None:
            books.keys[key] = ((parts.path, fields), status, body)
        return status, body


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    connections: set[Any]

    def get_request(self) -> tuple[Any, Any]:
        found = super().get_request()
        self.connections.add(found[0])
        return found

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news; anything else fails the test that asked."""


class RunningStripe:
    """The server on its port."""

    def __init__(self) -> None:
        self.books = StripeServer()
        handler = type("BoundHandler", (Handler,), {"books": self.books})
        self.http = _Http(("127.0.0.1", 0), handler)
        self.http.connections = set()
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.stopped = False

    def stop(self) -> None:
        """Ends it, and every connection."""
        if self.stopped:
            return
        self.stopped = True
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()
        for connection in self.http.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)  # its handler's thread holds it too
            except OSError:
                pass
            connection.close()


@contextmanager
def running_stripe() -> Iterator[RunningStripe]:
    """A server until the `with` ends."""
    server = RunningStripe()
    try:
        yield server
    finally:
        server.stop()
