"""Figures, side by side and in one run: how many orders a second, how long a failover lasts. Benchmarks stand outside and
start a shop of their own in a scratch home; nothing here is part of a running shop."""
