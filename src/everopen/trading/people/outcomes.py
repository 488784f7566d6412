"""What people are and what a call for them can end with, as plain values."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct


class Customer(Struct, frozen=True):
    """Somebody with an account in the shop."""

    id: UUID
    email: str
    name: str
    created_at: datetime


class AddressFields(Struct, frozen=True):
    """Where goods go. `country` is ISO 3166-1 alpha-2."""

    recipient: str
    line1: str
    city: str
    country: str
    line2: str = ""
    region: str = ""
    postcode: str = ""
    phone: str = ""


class Address(Struct, frozen=True):
    """An address that a customer keeps."""

    id: UUID
    fields: AddressFields


class OwnOrder(Struct, frozen=True):
    """An order in its customer's list."""

    id: UUID
    status: str
    total: int
    currency: str
    units: int
    placed_at: datetime
    reference: str | None


class LoggedIn(Struct, frozen=True):
    """A customer who is in now: the new token of his session and his cart."""

    customer: Customer
    token: str
    cart_id: UUID


class StaffAccount(Struct, frozen=True):
    """Somebody who works here."""

    id: UUID
    login: str
    name: str
    roles: tuple[str, ...]
    active: bool
    must_change_password: bool
    second_factor: bool
    created_at: datetime
    last_login_at: datetime | None


class StaffEntry(Struct, frozen=True):
    """A staff session that was opened just now; the token is shown this once."""

    account: StaffAccount
    token: str
    expires_at: datetime
    recovery_codes_left: int


class StaffMade(Struct, frozen=True):
    """A new account, or one that was reset: the password is shown this once and has to be changed at the first login."""

    account: StaffAccount
    password: str


class ApiKey(Struct, frozen=True):
    """A key for a program."""

    id: UUID
    name: str
    scopes: tuple[str, ...]
    made_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class Secret(Struct, frozen=True):
    """A second factor that is offered: it counts once a code of it was sent back."""

    secret: str
    address: str
    """`otpauth://…`, for a QR code."""


class KeyMade(Struct, frozen=True):
    """A new API key with its token, which is shown this once."""

    key: ApiKey
    token: str


class Bearer(Struct, frozen=True):
    """Who a token of staff stands for, and what it may do."""

    actor: str
    """The name in the audit log: `staff:…`, `key:…`, `operator`."""
    scopes: frozenset[str]
    account: UUID | None = None
    """The staff account behind it: whose session it is, or who made the key."""
    session_id: UUID | None = None
    missing: tuple[str, ...] = ()
    """What a session has to do before it may do anything else: `password`, `second-factor`."""


class LogEntry(Struct, frozen=True):
    """A row of the audit log."""

    sequence: int
    happened_at: datetime
    actor: str
    action: str
    key: str
    subject: UUID | None
    detail: str
    digest: str


# --- what else can happen -----------------------------------------------------------------------------------------


class TooManyAttempts(Struct, frozen=True):
    """Too many guesses; the next one counts after so many seconds."""

    wait_s: int


class WrongLogin(Struct, frozen=True):
    """Name and password do not go together; which of the two is wrong is not said."""


class CodeNeeded(Struct, frozen=True):
    """Name and password are right; the code of the second factor is missing."""


class WrongCode(Struct, frozen=True):
    """The code of the second factor is wrong, too old, or was used before."""


class NameTaken(Struct, frozen=True):
    """There is an account under this name already."""


class WeakPassword(Struct, frozen=True):
    """The password is not accepted, and why."""

    reason: str


class TokenSpent(Struct, frozen=True):
    """The token of a reset is unknown, was used, or is too old."""


class Missing(Struct, frozen=True):
    """There is no such thing; `what` names it."""

    what: str


class Forbidden(Struct, frozen=True):
    """That would give more rights than the one who does it has."""

    reason: str


class Full(Struct, frozen=True):
    """There are as many as one may keep."""

    most: int
