"""One-time passwords by the vectors of RFC 6238, and recovery codes."""

from __future__ import annotations

import base64

import pyotp
import pytest

from everopen.trading.people import totp

SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("now_s", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_rfc(now_s: int, code: str) -> None:
    assert totp.step_of(SECRET, code, now_s, after=0) == now_s // 30
    assert totp.step_of(SECRET, f"{code[:3]} {code[3:]}", now_s, after=0) == now_s // 30


@pytest.mark.parametrize(("drift", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_drift_by_one_step(drift: int, taken: bool) -> None:
    now_s = 1_800_000_000
    code = pyotp.TOTP(SECRET).at(now_s + 30 * drift)
    assert (totp.step_of(SECRET, code, now_s, after=0) is not None) is taken


def test_a_code_counts_only_after_the_last_one() -> None:
    now_s = 1_800_000_000
    code = pyotp.TOTP(SECRET).at(now_s)
    step = totp.step_of(SECRET, code, now_s, after=0)
    assert step is not None
    assert totp.step_of(SECRET, code, now_s, after=step) is None
    assert totp.step_of(SECRET, pyotp.TOTP(SECRET).at(now_s - 30), now_s, after=step) is None


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "１２３４５６", "-12345"])
def test_what_is_no_code_is_wrong(code: str) -> None:
    assert totp.step_of(SECRET, code, 0, after=0) is None


def test_recovery_codes_are_read_as_people_type_them() -> None:
    codes = totp.new_recovery_codes()
    assert len({*codes}) == totp.RECOVERY_CODES
    first = codes[0]
    assert totp.is_recovery_code(first)
    assert not totp.is_recovery_code("123456")
    assert totp.recovery_digest(first) == totp.recovery_digest(f" {first.upper().replace('-', ' ')} ")
