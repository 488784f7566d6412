"""Money: whole minor units (pence, cents, yen) with their ISO 4217 currency. Never a float.

Which currencies there are and how many digits each has comes from CLDR, through babel, read when it is first asked for.
For some currencies CLDR tells how many digits people still write, not how many the standard counts; those are put right
here, because payment providers count like the standard."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec

from everopen.base.errors import InvariantBroken

_UNLIKE_CLDR = {
    "AFN": 2, "ALL": 2, "IQD": 3, "IRR": 2, "KPW": 2, "LAK": 2, "LBP": 2, "MGA": 2, "MMK": 2, "RSD": 2, "SOS": 2,
    "SYP": 2, "YER": 2,
}  # fmt: skip
_NO_ISO = frozenset({"CNH"})
"""In CLDR, but no currency of ISO 4217."""


@cache
def _digits() -> dict[str, int]:
    from babel.core import get_global

    fractions: Any = get_global("currency_fractions")
    in_use = {
        code
        for entries in get_global("territory_currencies").values()
        for code, _start, end, tender in entries
        if end is None and (tender or not code.startswith("X")) and code not in _NO_ISO
    }
    usual = fractions["DEFAULT"][0]
    return {
        code: _UNLIKE_CLDR.get(code, fractions[code][0] if code in fractions else usual)
        for code in sorted(in_use)
    }


class _Exponents(Mapping[str, int]):
    """A mapping that is read from babel when it is first looked into."""

    def __getitem__(self, currency: str) -> int:
        return _digits()[currency]

    def __iter__(self) -> Iterator[str]:
        return iter(_digits())

    def __len__(self) -> int:
        return len(_digits())


EXPONENTS: Mapping[str, int] = _Exponents()
"""Digits after the point for every currency in use (ISO 4217)."""


class Money(msgspec.Struct, frozen=True, order=True):
    """An amount in minor units of a currency: `Money(255, "GBP")` is £2.55."""

    amount: int
    currency: str

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.amount - other.amount, self.currency)

    def __str__(self) -> str:
        digits = EXPONENTS.get(self.currency, 2)
        sign, whole = "-" if self.amount < 0 else "", abs(self.amount)
        if digits == 0:
            return f"{sign}{whole:,} {self.currency}"
        return f"{sign}{whole // 10**digits:,}.{whole % 10**digits:0{digits}d} {self.currency}"

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise InvariantBroken(f"{self.currency} and {other.currency} were added.")


def format_money(amount_minor: int, currency: str, locale: str = "en") -> str:
    """The amount as people write it: `format_money(123450, "GBP", "en_GB")` is £1,234.50, with "de_DE" 1.234,50 £ (with a
    no-break space). Raises KeyError for what is no currency in use, ValueError for what is no locale."""
    digits = EXPONENTS[currency]
    shown: str = _pattern(locale, digits).apply(
        Decimal(amount_minor).scaleb(-digits), locale, currency=currency, currency_digits=False
    )
    return shown


@cache
def _pattern(locale: str, digits: int) -> Any:
    from babel.core import Locale, UnknownLocaleError

    try:
        found: Any = copy.copy(Locale.parse(locale).currency_formats["standard"])
    except UnknownLocaleError:
        raise ValueError(f"There is no locale {locale!r}.") from None
    found.frac_prec = (digits, digits)  # the currency's, whatever the locale's pattern shows
    return found
