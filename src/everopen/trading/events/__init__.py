"""Events out: what happens in the shop, told to others once it is committed.

Writers put a row into the outbox in their own transaction; the relay numbers it (`relay`), subscribers get it as a signed
webhook (`deliverer`), live followers as server-sent events (`follow`). What there is to hear of stands in `catalogue`."""
