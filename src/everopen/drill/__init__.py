"""Break it and prove it: load clients that keep their own ledger of what was acknowledged, and checks of that ledger
against the shop. Drills stand outside; they know the shop by HTTP, by its command line and by signals."""
