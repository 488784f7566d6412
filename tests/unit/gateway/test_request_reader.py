from __future__ import annotations

import msgspec
import pytest

from everopen.api.settings import ApiSettings
from everopen.gateway.problems import Refusal
from everopen.gateway.request_reader import Budget, Request, RequestReader
from everopen.gateway.settings import GatewaySettings
from tests.unit.gateway.malformed import MALFORMED

FORWARDED = b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n"


def reader(**settings: object) -> RequestReader:
    chosen = msgspec.convert(settings, GatewaySettings)
    return RequestReader(chosen, FORWARDED, Budget(chosen.max_buffered_bytes), lambda: b"%032x" % 0xABC)


def read(data: bytes, **settings: object) -> list[Request | Refusal]:
    whole = reader(**settings)
    whole.feed(data)
    return list(whole.ready)


def one(data: bytes) -> Request:
    (request,) = read(data)
    assert isinstance(request, Request), request
    return request


@pytest.mark.parametrize(("name", "data", "status"), MALFORMED, ids=[name for name, _, _ in MALFORMED])
def test_malformed_requests_are_refused_whole_and_byte_by_byte(name: str, data: bytes, status: int) -> None:
    found = read(data)
    assert [item.status for item in found if isinstance(item, Refusal)] == [status]
    assert len(found) == 1, "nothing else of it may pass"
    pieces = reader()
    for place in range(len(data)):
        pieces.feed(data[place : place + 1])
    assert [item.status for item in pieces.ready if isinstance(item, Refusal)] == [status]


def test_a_request_is_written_anew() -> None:
    request = one(b"GET /a?b=c HTTP/1.1\r\nhost:shop:8080\r\nAccept:  */*  \r\n\r\n")
    assert request.wire == (
        b"GET /a?b=c HTTP/1.1\r\nHost: shop:8080\r\nAccept: */*\r\n" + FORWARDED + b"\r\n"
    )
    assert request.keep_alive
    assert request.repeatable


def test_a_chunked_body_goes_on_with_its_length_and_without_trailers() -> None:
    request = one(
        b"POST /x HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
        b"5;note=1\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\nHost: other\r\n\r\n"
    )
    assert request.wire.endswith(b"Content-Length: 6\r\n" + FORWARDED + b"\r\nhello!")
    assert b"X-T" not in request.wire
    assert b"other" not in request.wire
    assert b"Transfer-Encoding" not in request.wire
    assert not request.repeatable


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        (b"X-Forwarded-For: 203.0.113.9", False),
        (b"X-Forwarded-Proto: https", False),
        (b"Forwarded: for=203.0.113.9", False),
        (b"X_Forwarded_For: 203.0.113.9", False),
        (b"X-Real-IP: 203.0.113.9", False),
        (b"Keep-Alive: timeout=5", False),
        (b"TE: trailers", False),
        (b"Proxy-Authorization: secret", False),
        (b"X-Everopen-Retry: 1", False),
        (b"X-Named: named by Connection", False),
        (b"Cookie: everopen_session=1", True),
        (b"X-Other: 1", True),
    ],
)
def test_fields_of_one_hop_and_claims_about_the_client_stay_here(line: bytes, passes: bool) -> None:
    request = one(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: X-Named, keep-alive\r\n" + line + b"\r\n\r\n")
    assert (line in request.wire) is passes
    assert request.wire.count(b"X-Forwarded-For: ") == 1


@pytest.mark.parametrize(
    "name", [b"Host", b"Content-Length", b"Idempotency-Key", b"Cookie", b"Authorization"]
)
def test_connection_cannot_remove_what_the_request_means(name: bytes) -> None:
    request = one(
        b"POST /api/x HTTP/1.1\r\nHost: shop\r\nContent-Length: 1\r\nIdempotency-Key: k\r\nCookie: c\r\n"
        b"Authorization: a\r\nConnection: " + name + b"\r\n\r\nz"
    )
    assert b"\r\n" + name + b": " in request.wire


@pytest.mark.parametrize(
    ("method", "path", "key", "stamped", "repeatable"),
    [
        ("POST", "/api/orders", None, True, True),
        ("PUT", "/api/products", None, True, True),
        ("PATCH", "/api/cart/lines/a", None, True, True),
        ("DELETE", "/api/cart", None, True, True),
        ("GET", "/api/orders", None, False, True),
        ("POST", "/api/orders", "mine", False, True),
        ("POST", "/buy", None, True, True),  # the storefront's forms carry keys of their own
        ("POST", "/checkout", None, True, True),
        ("POST", "/cart/lines", None, True, True),
        ("POST", "/cart/lines/set", None, True, True),
        ("POST", "/elsewhere", None, False, False),
        ("POST", "/elsewhere", "mine", False, False),  # nobody there promises to honour it
        ("POST", "/api/orders", "", False, False),
    ],
)
def test_trading_requests_get_a_key_and_may_be_repeated(
    method: str, path: str, key: str | None, stamped: bool, repeatable: bool
) -> None:
    own = "" if key is None else f"Idempotency-Key: {key}\r\n"
    request = one(f"{method} {path} HTTP/1.1\r\nHost: shop\r\n{own}Content-Length: 0\r\n\r\n".encode())
    assert (b"Idempotency-Key: eo-" + b"0" * 29 + b"abc\r\n" in request.wire) is stamped
    assert request.repeatable is repeatable


def test_pipelined_requests_come_out_in_order_and_a_refusal_comes_last() -> None:
    found = read(
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" * 2 + b"POST /2 HTTP/1.1\r\nHost: a\r\n\r\nBAD / \r\n\r\n"
    )
    assert [type(item) for item in found] == [Request, Request, Request, Refusal]


def test_more_pipelined_requests_than_allowed_end_the_connection_after_the_last_allowed() -> None:
    found = read(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" * 50, max_pipelined=8)
    assert len(found) == 8
    assert [item.keep_alive for item in found if isinstance(item, Request)] == [True] * 7 + [False]


def test_nothing_after_a_closing_request_counts() -> None:
    found = read(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(found) == 1
    assert isinstance(found[0], Request)
    assert not found[0].keep_alive


@pytest.mark.parametrize(("field", "keep"), [(b"", False), (b"Connection: keep-alive\r\n", True)])
def test_http_1_0_is_served(field: bytes, keep: bool) -> None:
    request = one(b"GET / HTTP/1.0\r\n" + field + b"\r\n")
    assert request.old
    assert request.keep_alive is keep
    assert request.wire.startswith(b"GET / HTTP/1.1\r\n")


def test_an_absolute_target_of_the_same_host_becomes_a_path() -> None:
    for target, path in [(b"http://Shop/a?b", b"/a?b"), (b"http://shop", b"/"), (b"http://shop?q", b"/?q")]:
        assert one(b"GET " + target + b" HTTP/1.1\r\nHost: shop\r\n\r\n").path == path


def test_an_upgrade_is_declined_by_serving_the_request() -> None:
    found = read(
        b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AA\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert [item.path for item in found if isinstance(item, Request)] == [b"/1", b"/2"]
    assert isinstance(found[0], Request)
    assert b"pgrade" not in found[0].wire


def test_chunked_bodies_are_bounded_too() -> None:
    chunk = b"400\r\n" + b"a" * 1024 + b"\r\n"
    found = read(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 3, max_body_bytes=2048
    )
    assert [item.status for item in found if isinstance(item, Refusal)] == [413]


def test_bodies_are_charged_to_the_budget_and_given_back() -> None:
    settings = GatewaySettings()
    budget = Budget(1500)
    first = RequestReader(settings, FORWARDED, budget, lambda: b"0" * 32)
    second = RequestReader(settings, FORWARDED, budget, lambda: b"0" * 32)
    first.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
    assert budget.held_bytes == 3
    first.feed(b"x" * 997)
    assert budget.held_bytes == 1000
    second.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + b"x" * 501)
    assert isinstance(second.ready[0], Refusal)
    assert second.ready[0].status == 503
    first.release()
    second.release()
    assert budget.held_bytes == 0


def test_the_client_is_told_to_continue_only_while_its_body_is_awaited() -> None:
    waiting = reader()
    waiting.feed(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert waiting.wants_continue
    waiting.feed(b"abc")
    assert not waiting.wants_continue
    assert len(waiting.ready) == 1


@pytest.mark.parametrize("endless", [b"5;note=", b"0\r\nX-Trailer: "])
def test_chunk_extensions_and_trailers_without_end_are_refused(endless: bytes) -> None:
    reading = reader()
    reading.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + endless)
    for _ in range(20):
        reading.feed(b"a" * 4096)
    assert [item.status for item in reading.ready if isinstance(item, Refusal)] == [431]


def test_the_largest_batch_that_workers_take_passes() -> None:
    assert GatewaySettings().max_body_bytes >= ApiSettings().batch_body_bytes_max
