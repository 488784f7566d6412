"""Customers and staff: who they are, how they get in, and what they may do.

`customers` and `belongings` are the shop's customers; `staff`, `entry` and `keys` are who works here and their programs;
`doors` counts guesses, `passwords` and `totp` look at secrets, `roles` says what a role may do."""

from everopen.trading.people.desk import People
from everopen.trading.people.settings import PeopleSettings

__all__ = ["People", "PeopleSettings"]
