"""Money in the digits of its currency and in the words of a language."""

from __future__ import annotations

import pytest

from everopen.base.errors import InvariantBroken
from everopen.base.money import EXPONENTS, Money, format_money


@pytest.mark.parametrize(
    ("currency", "digits"),
    [
        ("GBP", 2),
        ("EUR", 2),
        ("JPY", 0),
        ("KWD", 3),
        ("CLF", 4),
        ("ISK", 0),
        ("IQD", 3),
        ("LBP", 2),
        ("ZWG", 2),
    ],
)
def test_a_currency_has_the_digits_of_iso_4217(currency: str, digits: int) -> None:
    assert EXPONENTS[currency] == digits


@pytest.mark.parametrize("gone", ["DEM", "XXX", "XTS", "XAU", "CNH", "gbp", ""])
def test_what_nobody_pays_with_is_no_currency(gone: str) -> None:
    assert gone not in EXPONENTS


def test_there_are_as_many_currencies_as_countries_pay_with() -> None:
    assert len(EXPONENTS) > 150


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "shown"),
    [
        (123450, "GBP", "en_GB", "£1,234.50"),
        (123450, "EUR", "de_DE", "1.234,50\xa0€"),
        (-5, "USD", "en_US", "-$0.05"),
        (1234, "JPY", "ja_JP", "￥1,234"),
        (1234567, "KWD", "en", "KWD1,234.567"),
        (1234567, "IQD", "en", "IQD1,234.567"),
        (10**18, "EUR", "en", "€10,000,000,000,000,000.00"),
        (0, "CHF", "fr_CH", "0,00\xa0CHF"),
    ],
)
def test_money_is_written_as_people_write_it(amount: int, currency: str, locale: str, shown: str) -> None:
    assert format_money(amount, currency, locale).replace("\u202f", "\xa0") == shown


def test_an_unknown_currency_or_locale_is_told() -> None:
    with pytest.raises(KeyError):
        format_money(1, "DEM", "de")
    with pytest.raises(ValueError, match="no locale"):
        format_money(1, "EUR", "klingon")


def test_two_currencies_are_never_added() -> None:
    assert str(Money(200, "GBP") + Money(55, "GBP")) == "2.55 GBP"
    with pytest.raises(InvariantBroken):
        Money(1, "GBP") + Money(1, "EUR")
