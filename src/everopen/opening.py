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
from everopen.trading.catalogue import put_categories, put_groups, upsert_products
from everopen.trading.orders import StockItem
from everopen.trading.range import Category, Group
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
    from everopen.cli.catalogue_file import called, change_of
    from everopen.cli.import_catalog import read_catalogue, shipped_file

    named = configuration.shop.catalogue
    path = shipped_file() if named == "sample" else Path(named)
    if not path.exists():
        raise ConfigError(
            f"shop.catalogue names {path}, which does not exist.", "Name a CSV file, `sample` or `none`."
        )
    catalogue = read_catalogue(path)
    products = [change_of(entry) for entry in catalogue.products]
    opening = configuration.shop.opening_stock
    stock = [
        StockItem(product.sku, catalogue.stock.get(product.sku, opening))
        for product in products
        if product.tracks_stock is not False and catalogue.stock.get(product.sku, opening) > 0
    ]
    primary = Primary(
        configuration.store, OneNode(node), password=secrets.app, clock=SystemClock(), jitter=random.random
    )
    await primary.start()
    try:
        currency = configuration.trading.currency
        categories = sorted({name for product in products if isinstance(name := product.category_id, str)})
        groups = sorted({name for product in products if isinstance(name := product.group_id, str)})
        if categories:
            named_so = [Category(id=name, name=called(name)) for name in categories]
            await put_categories(primary, named_so, key="opening-categories", fingerprint=b"opening")
        if groups:
            titled_so = [Group(id=name, title=called(name)) for name in groups]
            await put_groups(primary, titled_so, key="opening-groups", fingerprint=b"opening")
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
