"""Prices: what a basket costs under the shop's promotions, coupons, taxes and shipping methods.

`price(basket, rules, at)` decides, purely; `load_rules` reads the snapshot that it decides by; `staff.py`
and `tax_shipping.py` are what staff do with the rules."""

from everopen.trading.pricing.engine import price
from everopen.trading.pricing.quote import (
    Applied,
    Basket,
    BasketLine,
    Quote,
    QuotedLine,
    Recorded,
    Refused,
    recorded,
)
from everopen.trading.pricing.rules import Rules, load_rules

__all__ = [
    "Applied",
    "Basket",
    "BasketLine",
    "Quote",
    "QuotedLine",
    "Recorded",
    "Refused",
    "Rules",
    "load_rules",
    "price",
    "recorded",
]
