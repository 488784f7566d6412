"""The kinds of promotions, one per file. A new kind is one file, one line in `PROMOTIONS` and one in `Rule`."""

from __future__ import annotations

from everopen.trading.pricing.promotions.buy_get import BuyGet
from everopen.trading.pricing.promotions.fixed import Fixed
from everopen.trading.pricing.promotions.free_shipping import FreeShipping
from everopen.trading.pricing.promotions.kind import Kind, Pool, Target
from everopen.trading.pricing.promotions.percentage import Percentage

PROMOTIONS: dict[str, type[Kind]] = {
    "buy-get": BuyGet,
    "fixed": Fixed,
    "free-shipping": FreeShipping,
    "percentage": Percentage,
}
"""Kinds by the name that stands in a promotion's `rule.kind`."""

Rule = BuyGet | Fixed | FreeShipping | Percentage
"""What a promotion gives, as JSON that names its kind."""

__all__ = ["PROMOTIONS", "BuyGet", "Fixed", "FreeShipping", "Kind", "Percentage", "Pool", "Rule", "Target"]
