"""Talks to PostgreSQL: connections that follow the primary through failovers, named SQL statements, migrations.

What is true about stock, orders and money is decided above, in `trading`; here is only how to reach the node that
may write, and what a broken answer means."""

from everopen.store.primary import Link, Primary
from everopen.store.settings import StoreSettings
from everopen.store.sql import Statements, load_statements

__all__ = ["Link", "Primary", "Statements", "StoreSettings", "load_statements"]
