"""Data that is shipped with the package: one month of a real shop's sales (see ATTRIBUTION.md for source and licence)."""
