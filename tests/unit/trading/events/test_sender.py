"""Where webhooks may go, and how they are signed."""

from __future__ import annotations

import ipaddress

import pytest

from everopen.trading.events.sender import check_url, is_public
from everopen.trading.events.settings import EventsSettings
from everopen.trading.events.sign import new_secret, signature


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d70e", True),
    ],
)
def test_only_addresses_of_the_internet_are_public(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize("url", ["https://example.com/hook?x=1", "https://example.com:8443/"])
def test_a_good_url_is_good(url: str) -> None:
    assert check_url(url, EventsSettings()) == ""


@pytest.mark.parametrize("url", ["http://localhost:1/x", "http://127.0.0.1/", "https://[::1]:1/"])
def test_private_addresses_are_possible_by_setting_only(url: str) -> None:
    assert check_url(url, EventsSettings()) or "localhost" in url
    assert check_url(url, EventsSettings(private_addresses=True)) == ""


def test_a_signature_is_that_of_the_specification() -> None:
    """The example of the Standard Webhooks specification's reference libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert (
        signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_secrets_are_long_and_never_the_same() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
    assert all(len(new_secret()) == len("whsec_") + 44 for _ in range(3))
