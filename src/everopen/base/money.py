"""Money: whole minor units (pence, cents, yen) with their ISO 4217 currency. Never a float."""

from __future__ import annotations

import msgspec

from everopen.base.errors import InvariantBroken

EXPONENTS = {"GBP": 2, "EUR": 2, "USD": 2, "CHF": 2, "SEK": 2, "JPY": 0, "KWD": 3}
"""Digits after the point for the currencies a shop may be set to (ISO 4217)."""


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
