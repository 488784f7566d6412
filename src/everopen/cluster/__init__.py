"""What the PostgreSQL nodes are and how to change that: binaries, accounts, one node's life (initialise, start, fence,
promote, rewind, back up), the durable facts of the cluster, and what can be observed of a node. It decides nothing:
decisions are made in `recover`."""
