"""Keeps the shop open: looks at nodes and processes, decides purely, acts, and says in one sentence what it did and
why. `decide` holds the decision, `keeper` the acts on PostgreSQL, `children` those on other processes, `supervisor` the
loop, `guardian` the few lines that hold the sockets."""
