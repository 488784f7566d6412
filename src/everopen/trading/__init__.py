"""The truth about stock, orders and money.

One file per noun, its SQL beside it; orders are committed in groups by lanes, payments are followed to their end by
the payer, and `audit` proves at any moment that all of it adds up."""

from everopen.trading.desk import Trading
from everopen.trading.settings import TradingSettings

__all__ = ["Trading", "TradingSettings"]
