"""Lock pile-up: a transaction locks the stock row of the product that sells best, and is left open.

What a person does with `BEGIN; UPDATE …` in a terminal before lunch. Every order for that product waits behind it, and since
orders are committed in groups, so do the orders that share a group with one. Not covered: the shop doesn't end other
people's transactions. PostgreSQL itself ends it after idle_in_transaction_session_timeout (60 s).
"""

from __future__ import annotations

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.drill.faults.fault import NOT_COVERED, Injected
from everopen.drill.faults.held import Held
from everopen.drill.ground import Ground

HOTTEST = """SELECT stock.sku_id FROM stock LEFT JOIN
  (SELECT sku_id, count(*) AS sold FROM
     (SELECT sku_id FROM order_lines WHERE tracked ORDER BY order_id DESC LIMIT 1000) AS recent GROUP BY sku_id) AS counted
  USING (sku_id) ORDER BY sold DESC NULLS LAST, on_hand DESC LIMIT 1"""
"""The product with stock that most of the last thousand order lines are about."""
LOCK = "SELECT products.sku FROM stock JOIN products ON products.id = stock.sku_id WHERE sku_id = $1 FOR UPDATE OF stock"
INJECT_S_MAX = 10.0


class LockPileup:
    """The hot row is locked and stays so."""

    name = "lock-pileup"
    description = "A transaction that was left open holds the stock row of the product that sells best."
    promise = NOT_COVERED
    hold_s = 4.0

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}

    def missing(self, ground: Ground) -> str | None:
        """Always possible."""
        return None

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Locks."""
        held = Held()

        async def lock() -> str:
            connection = await ground.connect()
            held.connections.append(connection)
            hottest = await connection.fetchval(HOTTEST)
            if hottest is None:
                raise EveropenError("The shop has no product with stock.")
            await connection.execute("BEGIN")
            return str(await connection.fetchval(LOCK, hottest))

        try:
            sku = held.run(lock(), INJECT_S_MAX)
        except BaseException:
            held.end()
            raise
        self._held[id(held)] = held
        return Injected(f"locked the stock of {sku}", data={"held": id(held), "sku": sku})

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Ends the session, and its transaction with it."""
        held = self._held.pop(injected.data["held"], None)
        if held is not None:
            held.end()
