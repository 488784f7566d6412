"""Nouns that every room shares: topology, money, ids, clock and random source, processes, places on disk, the
error tree. Imports nothing of the project."""
