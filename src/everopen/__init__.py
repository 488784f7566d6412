"""Everopen: an e-commerce trading backend that stays open."""

__version__ = "0.1.0"
