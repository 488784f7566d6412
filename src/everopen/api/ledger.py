"""The ledger over HTTP: the trial balance, and statements as CSV."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from everopen.api.problems import Refusal
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shapes_money import AccountAnswer, CurrencyAnswer, TrialBalanceAnswer
from everopen.api.shop import Shop
from everopen.store.primary import Connection
from everopen.trading import ledger

ACCOUNTS = ("receivable", "sales", "cash", "returns", "customer_credit", "tax", "shipping")


def _time(call: Call, name: str, default: datetime | None = None) -> datetime:
    """A time of the query. Raises a 422 `Refusal`."""
    text = call.parameters.get(name, "")
    if not text and default is not None:
        return default
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal("bad-input", f"`{name}` must be a time such as 2026-11-01T00:00:00Z.") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    if not 1900 <= found.year <= 9000:
        raise Refusal("bad-input", f"`{name}` is a time that these books don't reach.")
    return found


async def trial_balance(shop: Shop, call: Call) -> Answer:
    """What each account holds."""
    before = _time(call, "before", datetime.now(UTC) + timedelta(seconds=1))
    found = await shop.money.primary.run(lambda connection: ledger.trial_balance(connection, before))
    currencies = [
        CurrencyAnswer(
            one.currency,
            one.debit,
            one.credit,
            [
                AccountAnswer(each.account, each.debit, each.credit, each.balance, each.entries)
                for each in one.accounts
            ],
        )
        for one in found.currencies
    ]
    return Answer(TrialBalanceAnswer(found.before, found.balanced, currencies))


async def statement(shop: Shop, call: Call) -> Answer:
    """An account's entries in a period, as CSV."""
    account = call.parameters.get("account", "")
    if account not in ACCOUNTS:
        raise Refusal("bad-input", f"`account` must be one of {', '.join(ACCOUNTS)}.")
    currency = call.parameters.get("currency", shop.currency)
    if not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise Refusal("bad-input", "`currency` must be a code of three capitals such as GBP.")
    since, until = _time(call, "since"), _time(call, "until", datetime.now(UTC) + timedelta(seconds=1))
    if since >= until:
        raise Refusal("bad-input", "`since` must be before `until`.")
    most = shop.money.settings.ledger_rows_max

    async def write(connection: Connection) -> str:
        pieces = ledger.statement(connection, account, currency, since, until, most=most)
        return "".join([piece async for piece in pieces])

    try:
        text = await shop.money.primary.run(write)
    except ledger.TooLong:
        raise Refusal(
            "bad-input",
            f"This period has more than {most:,} entries; take a shorter one, or `everopen ledger statement`.",
        ) from None
    name = f"{account}-{currency}-{since:%Y%m%d}-{until:%Y%m%d}.csv"
    headers = [
        (b"content-type", b"text/csv; charset=utf-8"),
        (b"content-disposition", f'attachment; filename="{name}"'.encode()),
        (b"cache-control", b"no-store"),
    ]
    return Answer(text.encode(), headers)


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/api/ledger/trial-balance",
        "getTrialBalance",
        "What each account holds in each currency",
        trial_balance,
        TrialBalanceAnswer,
        parameters=(Parameter("before", "Entries posted before this time; now by default."),),
        scope="ledger:read",
    ),
    Route(
        "GET",
        "/api/ledger/statement",
        "getStatement",
        "An account's entries in a period, as CSV",
        statement,
        bytes,
        parameters=(
            Parameter("account", "The account.", choices=ACCOUNTS),
            Parameter("since", "The first moment of the period (RFC 3339)."),
            Parameter("until", "The first moment after it; now by default."),
            Parameter("currency", "ISO 4217; the shop's own by default."),
        ),
        scope="ledger:read",
        media="text/csv",
    ),
)
