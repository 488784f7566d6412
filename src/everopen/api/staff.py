"""Staff over HTTP: logins, the own account, accounts of others, API keys, the audit log."""

from __future__ import annotations

import msgspec

from everopen.api.cursors import cut, page_parameters, read_page
from everopen.api.hot import fingerprint
from everopen.api.people import address_of, id_of, refuse
from everopen.api.problems import Refusal
from everopen.api.routes import SELF, Answer, Call, Parameter, Route
from everopen.api.shapes_people import (
    CodeBody,
    CodesAnswer,
    Done,
    KeyAnswer,
    KeyBody,
    KeyMadeAnswer,
    KeysAnswer,
    LogAnswer,
    LogEntryAnswer,
    MeAnswer,
    NewPasswordBody,
    OfferAnswer,
    OfferBody,
    StaffAnswer,
    StaffBody,
    StaffChangeBody,
    StaffLoginAnswer,
    StaffLoginBody,
    StaffMadeAnswer,
    StaffResetBody,
    StaffsAnswer,
)
from everopen.api.shop import Shop
from everopen.trading.people import outcomes
from everopen.trading.people.once import Once

_DONE = Done()
FILTER_MAX = 300


def who(call: Call) -> outcomes.Bearer:
    """Who of staff calls; the router has seen to it."""
    if call.bearer is None:
        raise Refusal("no-operator", "This call is for staff: send `Authorization: Bearer <token>`.")
    return call.bearer


def account(found: outcomes.StaffAccount) -> StaffAnswer:
    """An account."""
    return StaffAnswer(**{**msgspec.structs.asdict(found), "roles": list(found.roles)})


def key(found: outcomes.ApiKey) -> KeyAnswer:
    """An API key."""
    return KeyAnswer(**{**msgspec.structs.asdict(found), "scopes": list(found.scopes)})


def made(found: outcomes.StaffMade) -> StaffMadeAnswer:
    """An account with its first password."""
    return StaffMadeAnswer(account(found.account), found.password)


# --- the own account ----------------------------------------------------------------------------------------------


async def login(shop: Shop, call: Call) -> Answer:
    """Opens a session."""
    body: StaffLoginBody = call.body
    once = Once("staff-login", call.key, fingerprint("staff-login", body.login, body.code))
    outcome = await shop.people.entry.login(
        body.login, body.password, body.code, address=address_of(call), once=once
    )
    if not isinstance(outcome, outcomes.StaffEntry):
        refuse(outcome)
    bearer = await shop.people.identify(outcome.token)
    if bearer is None:
        raise Refusal("wrong-login", "The account was changed at this moment; log in again.")
    return Answer(
        StaffLoginAnswer(
            outcome.token,
            outcome.expires_at,
            account(outcome.account),
            sorted(bearer.scopes),
            list(bearer.missing),
            outcome.recovery_codes_left,
        )
    )


async def logout(shop: Shop, call: Call) -> Answer:
    """Ends the own session."""
    await shop.people.entry.logout(who(call))
    shop.access.forget()
    return Answer(_DONE)


async def get_me(shop: Shop, call: Call) -> Answer:
    """The own account."""
    outcome = await shop.people.entry.me(who(call))
    if not isinstance(outcome, outcomes.StaffAccount):
        refuse(outcome)
    return Answer(MeAnswer(account(outcome), sorted(who(call).scopes), list(who(call).missing)))


async def change_password(shop: Shop, call: Call) -> Answer:
    """Takes another password; other sessions end."""
    body: NewPasswordBody = call.body
    once = Once("staff-password", call.key, fingerprint("staff-password", who(call).account))
    outcome = await shop.people.entry.change_password(
        who(call), body.current, body.new, address=address_of(call), once=once
    )
    if not isinstance(outcome, outcomes.StaffAccount):
        refuse(outcome)
    shop.access.forget()
    return Answer(account(outcome))


async def offer_second_factor(shop: Shop, call: Call) -> Answer:
    """Shows a secret for the authenticator app."""
    body: OfferBody = call.body
    outcome = await shop.people.entry.offer_second_factor(
        who(call), body.password, body.code, issuer=shop.settings.shop_name, address=address_of(call)
    )
    if not isinstance(outcome, outcomes.Secret):
        refuse(outcome)
    return Answer(OfferAnswer(outcome.secret, outcome.address))


async def confirm_second_factor(shop: Shop, call: Call) -> Answer:
    """The secret counts from now on."""
    body: CodeBody = call.body
    once = Once("staff-second-factor", call.key, fingerprint("second-factor", who(call).account, body.code))
    outcome = await shop.people.entry.confirm_second_factor(who(call), body.code, once=once)
    if not isinstance(outcome, list):
        refuse(outcome)
    shop.access.forget()
    return Answer(CodesAnswer(outcome))


async def renew_codes(shop: Shop, call: Call) -> Answer:
    """Other recovery codes."""
    body: CodeBody = call.body
    once = Once("staff-recovery-codes", call.key, fingerprint("recovery-codes", who(call).account, body.code))
    outcome = await shop.people.entry.renew_recovery_codes(who(call), body.code, once=once)
    if not isinstance(outcome, list):
        refuse(outcome)
    return Answer(CodesAnswer(outcome))


# --- accounts of others -------------------------------------------------------------------------------------------


async def list_staff(shop: Shop, call: Call) -> Answer:
    """All accounts."""
    return Answer(StaffsAnswer([account(item) for item in await shop.people.staff.all()]))


async def add_staff(shop: Shop, call: Call) -> Answer:
    """Makes an account."""
    body: StaffBody = call.body
    roles = tuple(dict.fromkeys(body.roles))
    once = Once("staff", call.key, fingerprint("staff", body.login, body.name, roles))
    outcome = await shop.people.staff.add(body.login, body.name, roles, by=who(call), once=once)
    if not isinstance(outcome, outcomes.StaffMade):
        refuse(outcome)
    return Answer(made(outcome))


async def change_staff(shop: Shop, call: Call) -> Answer:
    """Changes an account."""
    body: StaffChangeBody = call.body
    outcome = await shop.people.staff.change(
        id_of(call, "staff account"),
        name=body.name,
        roles=None if body.roles is None else tuple(dict.fromkeys(body.roles)),
        active=body.active,
        by=who(call),
        key=call.key,
    )
    if not isinstance(outcome, outcomes.StaffAccount):
        refuse(outcome)
    shop.access.forget()
    return Answer(account(outcome))


async def reset_staff(shop: Shop, call: Call) -> Answer:
    """Gives an account another first password."""
    body: StaffResetBody = call.body
    staff_id = id_of(call, "staff account")
    once = Once("staff-reset", call.key, fingerprint("staff-reset", staff_id, body.second_factor))
    outcome = await shop.people.staff.reset(
        staff_id, second_factor=body.second_factor, by=who(call), once=once, address=address_of(call)
    )
    if not isinstance(outcome, outcomes.StaffMade):
        refuse(outcome)
    shop.access.forget()
    return Answer(made(outcome))


# --- API keys, and the log ----------------------------------------------------------------------------------------


async def list_keys(shop: Shop, call: Call) -> Answer:
    """All API keys."""
    return Answer(KeysAnswer([key(item) for item in await shop.people.keys.all()]))


async def add_key(shop: Shop, call: Call) -> Answer:
    """Makes an API key."""
    body: KeyBody = call.body
    once = Once("api-key", call.key, fingerprint("api-key", body.name, sorted(body.scopes), body.days))
    outcome = await shop.people.keys.add(body.name, tuple(body.scopes), body.days, by=who(call), once=once)
    if not isinstance(outcome, outcomes.KeyMade):
        refuse(outcome)
    return Answer(KeyMadeAnswer(key(outcome.key), outcome.token))


async def revoke_key(shop: Shop, call: Call) -> Answer:
    """Ends an API key."""
    outcome = await shop.people.keys.revoke(id_of(call, "API key"), key=call.key)
    if not isinstance(outcome, outcomes.ApiKey):
        refuse(outcome)
    shop.access.forget()
    return Answer(key(outcome))


async def list_log(shop: Shop, call: Call) -> Answer:
    """The audit log."""
    limit, after = read_page(call, "audit-log", tuple[int])
    named = {name: call.parameters.get(name) or None for name in ("actor", "action")}
    if any(len(text or "") > FILTER_MAX for text in named.values()):
        raise Refusal("bad-input", f"`actor` and `action` have at most {FILTER_MAX} characters.")
    before = None if after is None else min(after[0], 2**63 - 1)
    if before is not None and before < 0:
        raise Refusal("bad-input", "`after` is no cursor of this list; take the `next` of the page before.")
    found = await shop.people.log(before=before, limit=limit + 1, **named)
    shown, following = cut(found, limit, "audit-log", lambda entry: (entry.sequence,))
    listed = [LogEntryAnswer(**msgspec.structs.asdict(entry)) for entry in shown]
    return Answer(LogAnswer(listed, following))


_GUESS = ("wrong-login", "too-many-attempts")
_ID = (Parameter("id", "The account's id.", "path"),)
_KEY = (Parameter("id", "The key's id.", "path"),)
ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/api/staff/login",
        "staffLogin",
        "Log in as staff",
        login,
        StaffLoginAnswer,
        StaffLoginBody,
        200,
        (*_GUESS, "code-needed"),
        keyed=True,
    ),
    Route("POST", "/api/staff/logout", "staffLogout", "Log out as staff", logout, Done, scope=SELF),
    Route(
        "GET",
        "/api/staff/me",
        "getStaffMe",
        "The own account and rights",
        get_me,
        MeAnswer,
        refusals=("not-found",),
        scope=SELF,
    ),
    Route(
        "POST",
        "/api/staff/me/password",
        "changeStaffPassword",
        "Take another password",
        change_password,
        StaffAnswer,
        NewPasswordBody,
        200,
        (*_GUESS, "weak-password"),
        scope=SELF,
        keyed=True,
    ),
    Route(
        "POST",
        "/api/staff/me/second-factor",
        "offerSecondFactor",
        "Show a secret for an authenticator app",
        offer_second_factor,
        OfferAnswer,
        OfferBody,
        200,
        (*_GUESS, "code-needed"),
        scope=SELF,
    ),
    Route(
        "POST",
        "/api/staff/me/second-factor/confirm",
        "confirmSecondFactor",
        "Confirm the secret with a code; answers recovery codes",
        confirm_second_factor,
        CodesAnswer,
        CodeBody,
        200,
        ("wrong-login",),
        scope=SELF,
        keyed=True,
    ),
    Route(
        "POST",
        "/api/staff/me/recovery-codes",
        "renewRecoveryCodes",
        "Take other recovery codes",
        renew_codes,
        CodesAnswer,
        CodeBody,
        200,
        ("wrong-login", "code-needed"),
        scope=SELF,
        keyed=True,
    ),
    Route("GET", "/api/staff", "listStaff", "Staff accounts", list_staff, StaffsAnswer, scope="staff:write"),
    Route(
        "POST",
        "/api/staff",
        "addStaff",
        "Make a staff account",
        add_staff,
        StaffMadeAnswer,
        StaffBody,
        201,
        ("conflict",),
        scope="staff:write",
        keyed=True,
    ),
    Route(
        "PATCH",
        "/api/staff/{id}",
        "changeStaff",
        "Change or end a staff account",
        change_staff,
        StaffAnswer,
        StaffChangeBody,
        200,
        ("not-found",),
        _ID,
        scope="staff:write",
        keyed=True,
    ),
    Route(
        "POST",
        "/api/staff/{id}/reset",
        "resetStaff",
        "Give an account another first password",
        reset_staff,
        StaffMadeAnswer,
        StaffResetBody,
        200,
        ("not-found",),
        _ID,
        scope="staff:write",
        keyed=True,
    ),
    Route(
        "GET",
        "/api/staff/keys",
        "listKeys",
        "API keys, newest first",
        list_keys,
        KeysAnswer,
        scope="staff:write",
    ),
    Route(
        "POST",
        "/api/staff/keys",
        "addKey",
        "Make an API key",
        add_key,
        KeyMadeAnswer,
        KeyBody,
        201,
        scope="staff:write",
        keyed=True,
    ),
    Route(
        "DELETE",
        "/api/staff/keys/{id}",
        "revokeKey",
        "End an API key",
        revoke_key,
        KeyAnswer,
        refusals=("not-found",),
        parameters=_KEY,
        scope="staff:write",
        keyed=True,
    ),
    Route(
        "GET",
        "/api/audit-log",
        "listAuditLog",
        "What staff did, newest first",
        list_log,
        LogAnswer,
        parameters=(
            *page_parameters(),
            Parameter("actor", "Only what this actor did (`staff:…`, `key:…`, `operator`)."),
            Parameter("action", "Only this action."),
        ),
        scope="audit:read",
    ),
)
