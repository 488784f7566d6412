"""Session cookies and forms from elsewhere."""

from __future__ import annotations

import re

import pytest

from everopen.api.problems import Refusal
from everopen.api.routes import Call
from everopen.api.sessions import new_session, require_same_origin, session_of


def call(**headers: str) -> Call:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Call("/", named, {}, b"")


def test_the_cookie_leads_back_to_the_session() -> None:
    token, headers = new_session(days=30, secure=False)
    (name, value), *_ = headers
    assert name == b"set-cookie"
    assert re.fullmatch(
        r"everopen_session=[\w-]{43}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax", value.decode()
    )
    cookie = value.decode().partition(";")[0]
    assert session_of(call(cookie=f"theme=dark; {cookie}")) == token


def test_a_secure_shop_marks_its_cookie() -> None:
    _, headers = new_session(days=1, secure=True)
    assert headers[0][1].endswith(b"; Secure")


@pytest.mark.parametrize(
    "cookie", ["", "everopen_session=", "everopen_session=short", "everopen_session=" + "é" * 43]
)
def test_a_cookie_that_is_not_ours_is_no_session(cookie: str) -> None:
    assert session_of(call(cookie=cookie)) is None


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"sec_fetch_site": "same-origin"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"sec_fetch_site": "cross-site", "origin": "http://shop", "host": "shop"}, True),
        ({"sec_fetch_site": "same-site"}, True),
        ({"origin": "http://127.0.0.1:8080", "host": "127.0.0.1:8080"}, False),
        ({"origin": "http://evil.example", "host": "127.0.0.1:8080"}, True),
        ({"origin": "null", "host": "127.0.0.1:8080"}, True),
    ],
)
def test_forms_from_other_sites_are_refused(headers: dict[str, str], foreign: bool) -> None:
    if foreign:
        with pytest.raises(Refusal) as refused:
            require_same_origin(call(**headers))
        assert refused.value.status == 403
    else:
        require_same_origin(call(**headers))
