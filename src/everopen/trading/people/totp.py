"""The second factor: time-based one-time passwords (RFC 6238, by pyotp) and recovery codes. Pure: the time comes in.

A code is right for its own 30 seconds and the ones beside them (clocks drift), and only for a step later than the last one
that was taken: somebody who looks over a shoulder can't use it again (RFC 6238, 5.2)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

import pyotp

STEP_S = 30
DRIFT_STEPS = 1
RECOVERY_CODES = 10
_CODE = re.compile(r"[0-9]{6}").fullmatch


def new_secret() -> str:
    """160 random bits in base32, as authenticator apps take them."""
    return pyotp.random_base32(32)


def address_of(secret: str, *, login: str, issuer: str) -> str:
    """The `otpauth://` address that apps read as a QR code."""
    return pyotp.TOTP(secret, interval=STEP_S).provisioning_uri(name=login, issuer_name=issuer)


def step_of(secret: str, code: str, now_s: float, *, after: int) -> int | None:
    """The time step that a code belongs to, None when it is wrong, too far away, or not after the step `after`."""
    given = code.replace(" ", "")
    if not _CODE(given):
        return None
    generator = pyotp.TOTP(secret, interval=STEP_S)
    now_step, found = int(now_s) // STEP_S, None
    for step in range(now_step - DRIFT_STEPS, now_step + DRIFT_STEPS + 1):
        if hmac.compare_digest(generator.generate_otp(step), given) and step > after:
            found = step
    return found


def new_recovery_codes() -> list[str]:
    """Codes for the day on which the telephone is gone: 80 random bits each, in four groups that can be read out."""
    found = []
    for _ in range(RECOVERY_CODES):
        text = base64.b32encode(secrets.token_bytes(10)).decode().lower()
        found.append("-".join(text[at : at + 4] for at in range(0, 16, 4)))
    return found


def recovery_digest(code: str) -> bytes:
    """What is kept of a recovery code. Plain SHA-256: the code is random. Spaces, dashes and capitals do not matter."""
    return hashlib.sha256(re.sub(r"[\s-]", "", code).lower().encode()).digest()


def is_recovery_code(code: str) -> bool:
    """Whether it looks like one, and not like a code of six digits."""
    return len(re.sub(r"[\s-]", "", code)) == 16
