"""What goes in and out about people: customers, staff, API keys, the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from everopen.api.shapes import Email
from everopen.base.money import Money
from everopen.trading.people.passwords import PASSWORD_MAX
from everopen.trading.people.roles import RoleName, ScopeName

LINE_PATTERN = r"^[^\x00-\x1f\x7f]*$(?!\n)"
"""One line of text: it stands in letters and lists."""

Password = Annotated[str, Meta(min_length=1, max_length=PASSWORD_MAX)]
PersonName = Annotated[str, Meta(max_length=200, pattern=LINE_PATTERN)]
AddressLine = Annotated[str, Meta(max_length=200, pattern=LINE_PATTERN)]
AddressLineNeeded = Annotated[str, Meta(min_length=1, max_length=200, pattern=LINE_PATTERN)]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)", description="ISO 3166-1 alpha-2, such as GB.")]
Login = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=254,
        pattern=r"^[^\s\x00-\x1f\x7f]+$(?!\n)",
        description="A name or an e-mail address.",
    ),
]
Token = Annotated[str, Meta(min_length=1, max_length=100)]
Code = Annotated[
    str, Meta(max_length=40, description="Six digits of the authenticator app, or a recovery code.")
]


class Done(Struct, frozen=True):
    """It was done, and there is nothing more to say about it."""

    status: Literal["done"] = "done"


# --- customers ----------------------------------------------------------------------------------------------------


class RegisterBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A new customer."""

    email: Email
    password: Password
    name: PersonName = ""


class LoginBody(Struct, frozen=True, forbid_unknown_fields=True):
    email: Email
    password: Password


class ProfileBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays. Another e-mail address needs the password."""

    name: PersonName | None = None
    email: Email | None = None
    password: Password | None = None


class NewPasswordBody(Struct, frozen=True, forbid_unknown_fields=True):
    current: Password
    new: Password


class AskResetBody(Struct, frozen=True, forbid_unknown_fields=True):
    email: Email


class ResetBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The token is in the letter that the shop sends (event `customer.password_reset`)."""

    token: Token
    password: Password


class AddressBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Where goods go."""

    recipient: AddressLineNeeded
    line1: AddressLineNeeded
    city: AddressLineNeeded
    country: Country
    line2: AddressLine = ""
    region: AddressLine = ""
    postcode: Annotated[str, Meta(max_length=20, pattern=LINE_PATTERN)] = ""
    phone: Annotated[str, Meta(max_length=40, pattern=LINE_PATTERN)] = ""


class ProfileAnswer(Struct, frozen=True):
    """A customer."""

    id: UUID
    email: str
    name: str
    created_at: datetime


class ProfilesAnswer(Struct, frozen=True):
    customers: list[ProfileAnswer]
    next: str | None


class AddressAnswer(Struct, frozen=True):
    id: UUID
    recipient: str
    line1: str
    line2: str
    city: str
    region: str
    postcode: str
    country: str
    phone: str


class AddressesAnswer(Struct, frozen=True):
    addresses: list[AddressAnswer]


class OwnOrderAnswer(Struct, frozen=True):
    """An order in its customer's list; `GET /api/orders/{id}` has all of it."""

    id: UUID
    status: str
    total: Money
    units: int
    placed_at: datetime
    reference: str | None


class OwnOrdersAnswer(Struct, frozen=True):
    orders: list[OwnOrderAnswer]
    next: str | None


# --- staff --------------------------------------------------------------------------------------------------------


class StaffLoginBody(Struct, frozen=True, forbid_unknown_fields=True):
    login: Login
    password: Password
    code: Code = ""


class StaffBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A new account; its first password is in the answer."""

    login: Login
    roles: Annotated[list[RoleName], Meta(min_length=1, max_length=10)]
    name: PersonName = ""


class StaffChangeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays. `active: false` ends the account, its sessions and its API keys."""

    name: PersonName | None = None
    roles: Annotated[list[RoleName], Meta(min_length=1, max_length=10)] | None = None
    active: bool | None = None


class StaffResetBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Another first password; `second_factor: true` takes the second factor away too."""

    second_factor: bool = False


class OfferBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`code` is of the present second factor, where there is one."""

    password: Password
    code: Code = ""


class CodeBody(Struct, frozen=True, forbid_unknown_fields=True):
    code: Annotated[str, Meta(min_length=6, max_length=40)]


class KeyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A key for a program. `days`: when it ends; null: when it is revoked."""

    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=LINE_PATTERN)]
    scopes: Annotated[list[ScopeName], Meta(min_length=1, max_length=50)]
    days: Annotated[float, Meta(gt=0, le=3660)] | None = 90


class StaffAnswer(Struct, frozen=True):
    """Somebody who works here."""

    id: UUID
    login: str
    name: str
    roles: list[str]
    active: bool
    must_change_password: bool
    second_factor: bool
    created_at: datetime
    last_login_at: datetime | None


class StaffsAnswer(Struct, frozen=True):
    staff: list[StaffAnswer]


class StaffMadeAnswer(Struct, frozen=True):
    """The password is shown this once and has to be changed at the first login. Empty: its owner has changed it already."""

    account: StaffAnswer
    password: str


class StaffLoginAnswer(Struct, frozen=True):
    """The token is shown this once. `missing`: what has to be done before anything else is possible (`password`,
    `second-factor`)."""

    token: str
    expires_at: datetime
    account: StaffAnswer
    scopes: list[str]
    missing: list[str]
    recovery_codes_left: int


class MeAnswer(Struct, frozen=True):
    """The own account and what it may do."""

    account: StaffAnswer
    scopes: list[str]
    missing: list[str]


class OfferAnswer(Struct, frozen=True):
    """For the authenticator app: `address` as a QR code, or `secret` typed in. Counts once a code of it was confirmed."""

    secret: str
    address: str


class CodesAnswer(Struct, frozen=True):
    """Each works once, instead of a code of the app. Shown this once."""

    recovery_codes: list[str]


class KeyAnswer(Struct, frozen=True):
    """An API key, without its token."""

    id: UUID
    name: str
    scopes: list[str]
    made_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeysAnswer(Struct, frozen=True):
    keys: list[KeyAnswer]


class KeyMadeAnswer(Struct, frozen=True):
    """The token is shown this once. Empty: it was used already."""

    key: KeyAnswer
    token: str


class LogEntryAnswer(Struct, frozen=True):
    """A row of the audit log. `digest` covers it and all rows before it: whoever keeps one elsewhere can prove later that
    nothing before it was changed."""

    sequence: int
    happened_at: datetime
    actor: str
    action: str
    key: str
    subject: UUID | None
    detail: str
    digest: str


class LogAnswer(Struct, frozen=True):
    entries: list[LogEntryAnswer]
    next: str | None
