"""What a database needs before a shop can open on it: the tables, and in a new one the catalogue with its stock."""

from __future__ import annotations

import random
from pathlib import Path

from everopen.base.clock import SystemClock
from everopen.base.errors import ConfigError
from everopen.base.secrets import Secrets
from everopen.base.topology import NodeView, Topology, TopologyReader
from everopen.cluster.node import Node
from everopen.config import Configuration
from everopen.store import Primary, migrations
from everopen.trading.catalogue import upsert_products
from everopen.trading.orders import ProductInput, StockItem
from everopen.trading.stock import receive_stock


class OneNode(TopologyReader):
    """A topology of one node that never changes: the first primary, before anything is published."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.folder / "none")
        self._only = Topology(epoch=1, primary=NodeView(node.name, node.endpoint))

    def current(self) -> Topology:
        """That topology."""
        return self._only


async def prepare_database(node: Node, secrets: Secrets, configuration: Configuration, new: bool) -> None:
    """Brings the schema up to date; a new shop gets its catalogue and opening stock."""
    connection = await node.connect(database="everopen")
    try:
        current = await migrations.is_current(connection)
    finally:
        await connection.close()
    if not current:
        await migrations.upgrade(str(node.sockets), node.port, "postgres", secrets.superuser, "everopen")
    if new and configuration.shop.catalogue != "none":
        await _stock_up(node, secrets, configuration)


async def _stock_up(node: Node, secrets: Secrets, configuration: Configuration) -> None:
    """Opens with the configured catalogue, as the application's own role. Raises ConfigError or InputError."""
    from everopen.cli.import_catalog import read_catalogue, shipped_file

    named = configuration.shop.catalogue
    path = shipped_file() if named == "sample" else Path(named)
    if not path.exists():
        raise ConfigError(
            f"shop.catalogue names {path}, which does not exist.", "Name a CSV file, `sample` or `none`."
        )
    catalogue = read_catalogue(path)
    products = [
        ProductInput(
            entry["sku"],
            entry["title"],
            entry["price"] and entry["price"]["amount"],
            tracks_stock=entry["tracks_stock"],
        )
        for entry in catalogue.products
    ]
    opening = configuration.shop.opening_stock
    stock = [
        StockItem(product.sku, catalogue.stock.get(product.sku, opening))
        for product in products
        if product.tracks_stock and catalogue.stock.get(product.sku, opening) > 0
    ]
    primary = Primary(
        configuration.store, OneNode(node), password=secrets.app, clock=SystemClock(), jitter=random.random
    )
    await primary.start()
    try:
        currency = configuration.trading.currency
        for begin in range(0, len(products), 1000):
            key = f"opening-products-{begin}"
            await upsert_products(
                primary, currency, products[begin : begin + 1000], key=key, fingerprint=key.encode()
            )
        for begin in range(0, len(stock), 1000):
            key = f"opening-stock-{begin}"
            await receive_stock(
                primary,
                stock[begin : begin + 1000],
                key=key,
                fingerprint=key.encode(),
                reason="opening stock",
            )
    finally:
        await primary.close()
