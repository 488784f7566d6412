"""Customers over HTTP: accounts, logins, addresses, own orders. (Staff: `staff.py`.)"""

from __future__ import annotations

from typing import NoReturn
from uuid import UUID

import msgspec

from everopen.api import answers
from everopen.api.cursors import cut, page_parameters, read_page
from everopen.api.hot import fingerprint
from everopen.api.problems import Refusal
from everopen.api.routes import CUSTOMER, Answer, Call, Parameter, Route
from everopen.api.sessions import cookie_of, session_of
from everopen.api.shapes_people import (
    AddressAnswer,
    AddressBody,
    AddressesAnswer,
    AskResetBody,
    Done,
    LoginBody,
    NewPasswordBody,
    OwnOrderAnswer,
    OwnOrdersAnswer,
    ProfileAnswer,
    ProfileBody,
    ProfilesAnswer,
    RegisterBody,
    ResetBody,
)
from everopen.api.shop import Shop
from everopen.base.money import Money
from everopen.trading.people import outcomes
from everopen.trading.people.once import Once

_DONE = Done()


def address_of(call: Call) -> str:
    """The client's address, as the gateway saw it."""
    return call.header(b"x-forwarded-for")


def id_of(call: Call, what: str) -> UUID:
    """The id in the path. Raises a 404 `Refusal` for what can't be one."""
    try:
        return UUID(call.parameters["id"])
    except ValueError:
        raise Refusal("not-found", f"There is no such {what}.") from None


def refuse(outcome: msgspec.Struct) -> NoReturn:
    """Raises the refusal that an outcome stands for."""
    match outcome:
        case outcomes.TooManyAttempts(wait_s):
            raise Refusal(
                "too-many-attempts",
                f"There were too many attempts; the next one counts in {wait_s} s.",
                headers=[(b"retry-after", b"%d" % wait_s)],
            )
        case outcomes.WrongLogin():
            raise Refusal("wrong-login", "Name and password do not go together.")
        case outcomes.WrongCode():
            raise Refusal("wrong-login", "The code is wrong, too old, or was used before.")
        case outcomes.CodeNeeded():
            raise Refusal("code-needed", "Name and password are right; `code` is missing.")
        case outcomes.NameTaken():
            raise Refusal("conflict", "There is an account under this name already.")
        case outcomes.WeakPassword(reason):
            raise Refusal("weak-password", reason)
        case outcomes.TokenSpent():
            raise Refusal("token-spent", "This token is unknown, was used, or is too old.")
        case outcomes.Missing(what):
            raise Refusal("not-found", f"There is no such {what}.")
        case outcomes.Forbidden(reason):
            raise Refusal("not-allowed", reason)
        case outcomes.Full(most):
            raise Refusal("conflict", f"There are {most} already, as many as one may keep.")
    answers.refuse(outcome)


def me(call: Call) -> outcomes.Customer:
    """Who is logged in; the router has seen to it."""
    if call.customer is None:
        raise Refusal("not-logged-in", "Nobody is logged in under this session.")
    return call.customer


def profile(found: outcomes.Customer) -> ProfileAnswer:
    """A customer."""
    return ProfileAnswer(found.id, found.email, found.name, found.created_at)


def address(found: outcomes.Address) -> AddressAnswer:
    """An address."""
    return AddressAnswer(found.id, **msgspec.structs.asdict(found.fields))


# --- getting in ---------------------------------------------------------------------------------------------------


async def register(shop: Shop, call: Call) -> Answer:
    """Makes an account. (The fingerprint has no password in it: see `trading.people.once`.)"""
    body: RegisterBody = call.body
    outcome = await shop.people.customers.register(
        body.email,
        body.password,
        body.name,
        address=address_of(call),
        key=call.key,
        fingerprint=fingerprint("register", body.email, body.name),
    )
    if not isinstance(outcome, outcomes.Customer):
        refuse(outcome)
    return Answer(profile(outcome))


async def login(shop: Shop, call: Call) -> Answer:
    """Lets a customer in, under a new session."""
    body: LoginBody = call.body
    outcome = await shop.people.customers.login(
        body.email, body.password, address=address_of(call), token=session_of(call)
    )
    if not isinstance(outcome, outcomes.LoggedIn):
        refuse(outcome)
    cookie = cookie_of(outcome.token, days=shop.session_days, secure=shop.settings.secure_cookies)
    return Answer(profile(outcome.customer), cookie)


async def logout(shop: Shop, call: Call) -> Answer:
    """Ends the session, if there is one."""
    token = session_of(call)
    if token is not None:
        await shop.people.customers.logout(token)
    return Answer(_DONE, cookie_of("", days=0, secure=shop.settings.secure_cookies))


async def ask_reset(shop: Shop, call: Call) -> Answer:
    """Sends a token to the owner of an address; says the same whether it has an account or not."""
    body: AskResetBody = call.body
    once = Once("password-reset", call.key, fingerprint("ask-reset", body.email))
    outcome = await shop.people.customers.ask_reset(body.email, address=address_of(call), once=once)
    if outcome is not None:
        refuse(outcome)
    return Answer(_DONE)


async def reset(shop: Shop, call: Call) -> Answer:
    """Takes a new password from whoever holds the token."""
    body: ResetBody = call.body
    once = Once("password-new", call.key, fingerprint("reset", body.token))
    outcome = await shop.people.customers.reset(
        body.token, body.password, address=address_of(call), once=once
    )
    if not isinstance(outcome, outcomes.Customer):
        refuse(outcome)
    return Answer(profile(outcome))


# --- the own account ----------------------------------------------------------------------------------------------


async def get_me(shop: Shop, call: Call) -> Answer:
    """Who is logged in."""
    return Answer(profile(me(call)))


async def change_me(shop: Shop, call: Call) -> Answer:
    """Changes name and address."""
    body: ProfileBody = call.body
    outcome = await shop.people.customers.change_profile(
        me(call).id, name=body.name, email=body.email, password=body.password, address=address_of(call)
    )
    if not isinstance(outcome, outcomes.Customer):
        refuse(outcome)
    return Answer(profile(outcome))


async def change_password(shop: Shop, call: Call) -> Answer:
    """Takes another password; other sessions end."""
    body: NewPasswordBody = call.body
    outcome = await shop.people.customers.change_password(
        me(call).id,
        body.current,
        body.new,
        token=session_of(call) or "",
        address=address_of(call),
        once=Once("customer-password", call.key, fingerprint("customer-password", me(call).id)),
    )
    if not isinstance(outcome, outcomes.Customer):
        refuse(outcome)
    return Answer(profile(outcome))


async def list_addresses(shop: Shop, call: Call) -> Answer:
    """All addresses."""
    found = await shop.people.belongings.addresses(me(call).id)
    return Answer(AddressesAnswer([address(item) for item in found]))


async def add_address(shop: Shop, call: Call) -> Answer:
    """Keeps an address."""
    fields = _fields(call)
    once = Once("address", call.key, fingerprint("address", me(call).id, msgspec.structs.astuple(fields)))
    outcome = await shop.people.belongings.add_address(me(call).id, fields, once=once)
    if not isinstance(outcome, outcomes.Address):
        refuse(outcome)
    return Answer(address(outcome))


async def set_address(shop: Shop, call: Call) -> Answer:
    """Changes an address."""
    outcome = await shop.people.belongings.set_address(me(call).id, id_of(call, "address"), _fields(call))
    if not isinstance(outcome, outcomes.Address):
        refuse(outcome)
    return Answer(address(outcome))


async def drop_address(shop: Shop, call: Call) -> Answer:
    """Forgets an address."""
    await shop.people.belongings.drop_address(me(call).id, id_of(call, "address"))
    return Answer(_DONE)


def _fields(call: Call) -> outcomes.AddressFields:
    body: AddressBody = call.body
    return outcomes.AddressFields(**msgspec.structs.asdict(body))


async def own_orders(shop: Shop, call: Call) -> Answer:
    """Orders that were placed while logged in."""
    limit, after = read_page(call, "own-orders", tuple[UUID])
    found = await shop.people.belongings.orders(
        me(call).id, before=None if after is None else after[0], limit=limit + 1
    )
    shown, following = cut(found, limit, "own-orders", lambda order: (order.id,))
    listed = [
        OwnOrderAnswer(
            order.id,
            order.status,
            Money(order.total, order.currency),
            order.units,
            order.placed_at,
            order.reference,
        )
        for order in shown
    ]
    return Answer(OwnOrdersAnswer(listed, following))


# --- customers, for staff -----------------------------------------------------------------------------------------


async def list_customers(shop: Shop, call: Call) -> Answer:
    """Customers, newest first."""
    limit, after = read_page(call, "customers", tuple[UUID])
    found = await shop.people.customers.page(
        before=None if after is None else after[0],
        email=call.parameters.get("email", "")[:254],
        limit=limit + 1,
    )
    shown, following = cut(found, limit, "customers", lambda customer: (customer.id,))
    return Answer(ProfilesAnswer([profile(item) for item in shown], following))


async def get_customer(shop: Shop, call: Call) -> Answer:
    """One customer."""
    found = await shop.people.customers.find(id_of(call, "customer"))
    if found is None:
        raise Refusal("not-found", "There is no such customer.")
    return Answer(profile(found))


async def erase_customer(shop: Shop, call: Call) -> Answer:
    """Takes away what says who a customer is."""
    customer_id = id_of(call, "customer")
    once = Once("customer-erased", call.key, fingerprint("erase", customer_id))
    outcome = await shop.people.customers.erase(customer_id, once=once)
    if outcome is not None:
        refuse(outcome)
    return Answer(_DONE)


_ADDRESS = (Parameter("id", "The address's id.", "path"),)
_CUSTOMER = (Parameter("id", "The customer's id.", "path"),)
_GUESS = ("wrong-login", "too-many-attempts")
ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/api/customers",
        "register",
        "Make a customer account",
        register,
        ProfileAnswer,
        RegisterBody,
        201,
        ("conflict", "weak-password", "too-many-attempts"),
        keyed=True,
    ),
    Route(
        "GET",
        "/api/customers",
        "listCustomers",
        "Customers, newest first",
        list_customers,
        ProfilesAnswer,
        parameters=(*page_parameters(), Parameter("email", "Only addresses that begin like this.")),
        scope="customers:read",
    ),
    Route(
        "GET",
        "/api/customers/{id}",
        "getCustomer",
        "One customer",
        get_customer,
        ProfileAnswer,
        refusals=("not-found",),
        parameters=_CUSTOMER,
        scope="customers:read",
    ),
    Route(
        "DELETE",
        "/api/customers/{id}",
        "eraseCustomer",
        "Erase a customer; orders stay in the books",
        erase_customer,
        Done,
        refusals=("not-found",),
        parameters=_CUSTOMER,
        scope="customers:write",
        keyed=True,
    ),
    Route("POST", "/api/login", "login", "Log in", login, ProfileAnswer, LoginBody, 200, _GUESS),
    Route("POST", "/api/logout", "logout", "Log out", logout, Done),
    Route(
        "POST",
        "/api/password-resets",
        "askPasswordReset",
        "Send a token for a new password",
        ask_reset,
        Done,
        AskResetBody,
        202,
        ("too-many-attempts",),
        keyed=True,
    ),
    Route(
        "POST",
        "/api/password-resets/confirm",
        "resetPassword",
        "Set a new password with the token",
        reset,
        ProfileAnswer,
        ResetBody,
        200,
        ("token-spent", "weak-password"),
        keyed=True,
    ),
    Route("GET", "/api/me", "getMe", "Who is logged in", get_me, ProfileAnswer, scope=CUSTOMER),
    Route(
        "PATCH",
        "/api/me",
        "changeMe",
        "Change name and e-mail address",
        change_me,
        ProfileAnswer,
        ProfileBody,
        200,
        (*_GUESS, "conflict", "not-found"),
        scope=CUSTOMER,
    ),
    Route(
        "POST",
        "/api/me/password",
        "changePassword",
        "Take another password",
        change_password,
        ProfileAnswer,
        NewPasswordBody,
        200,
        (*_GUESS, "weak-password", "not-found"),
        scope=CUSTOMER,
        keyed=True,
    ),
    Route(
        "GET",
        "/api/me/orders",
        "listOwnOrders",
        "Own orders, newest first",
        own_orders,
        OwnOrdersAnswer,
        parameters=page_parameters(),
        scope=CUSTOMER,
    ),
    Route(
        "GET",
        "/api/me/addresses",
        "listAddresses",
        "Own addresses",
        list_addresses,
        AddressesAnswer,
        scope=CUSTOMER,
    ),
    Route(
        "POST",
        "/api/me/addresses",
        "addAddress",
        "Keep an address",
        add_address,
        AddressAnswer,
        AddressBody,
        201,
        ("conflict", "not-found"),
        scope=CUSTOMER,
        keyed=True,
    ),
    Route(
        "PUT",
        "/api/me/addresses/{id}",
        "setAddress",
        "Change an address",
        set_address,
        AddressAnswer,
        AddressBody,
        200,
        ("not-found",),
        _ADDRESS,
        scope=CUSTOMER,
    ),
    Route(
        "DELETE",
        "/api/me/addresses/{id}",
        "dropAddress",
        "Forget an address",
        drop_address,
        Done,
        refusals=("not-found",),
        parameters=_ADDRESS,
        scope=CUSTOMER,
    ),
)
