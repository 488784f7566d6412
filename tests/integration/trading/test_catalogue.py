"""The range of goods on a real PostgreSQL: products and what orders them, search, versions, prices with validity."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from everopen.trading import Trading, catalogue, search, versions
from everopen.trading.orders import KeyReused, NotFound, ProductsChanged
from everopen.trading.range import (
    Category,
    CategoryCircle,
    Group,
    Price,
    PricesOverlap,
    ProductChange,
    Put,
    Stale,
    UnknownCategory,
    UnknownGroup,
)
from everopen.trading.search import Wish
from tests.integration.trading.conftest import Shop

FAR = datetime(2100, 1, 1, tzinfo=UTC)


async def put(shop: Shop, worker: Trading, *items: ProductChange, **extra: Any) -> Any:
    """Writes products under a fresh key."""
    return await catalogue.upsert_products(
        worker.primary, "GBP", items, **{"key": shop.key(), "fingerprint": b"p", **extra}
    )


async def categories(shop: Shop, worker: Trading, *items: tuple[str, str | None]) -> Any:
    """Writes categories that are called as their ids."""
    wanted = [Category(id=name, name=name.title(), parent=parent, position=0) for name, parent in items]
    return await catalogue.put_categories(worker.primary, wanted, key=shop.key(), fingerprint=b"c")


def new(sku: str, title: str = "Lantern", **fields: Any) -> ProductChange:
    return ProductChange(sku=sku, title=title, **{"unit_price": 250, **fields})


async def find(worker: Trading, sku: str) -> Any:
    return await catalogue.find_product(worker.primary, "GBP", sku, unpublished=True)


async def skus(worker: Trading, wish: Wish, **order: Any) -> list[str]:
    """What a search finds, page by page of two, so that each cursor is used."""
    found: list[str] = []
    after = None
    while True:
        page = await search.find_products(worker.primary, "GBP", wish, limit=2, after=after, **order)
        found += [product.sku for product in page.products]
        after = page.next
        if after is None:
            return found


def test_what_a_change_leaves_out_stays_as_it_is(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await categories(shop, worker, ("light", None))
            full = new(
                "A",
                description="Brass",
                category_id="light",
                weight_g=900,
                tax_category="standard",
                buyer_limit=3,
                attributes={"colour": ["red", "gold"]},
                images=["https://img.example/a.jpg"],
            )
            assert await put(shop, worker, full, new("B", tracks_stock=False)) == ProductsChanged(2, 0)
            assert await put(shop, worker, ProductChange(sku="A", unit_price=300)) == ProductsChanged(0, 1)
            found = await find(worker, "A")
            assert (found.title, found.unit_price, found.description) == ("Lantern", 300, "Brass")
            assert (found.category_id, found.weight_g, found.tax_category) == ("light", 900, "standard")
            assert (found.attributes, found.images) == (full.attributes, full.images)
            assert (found.buyer_limit, found.version, found.available) == (3, 2, 0)
            assert (await find(worker, "B")).available is None
            await put(shop, worker, ProductChange(sku="A", category_id=None, unit_price=None))
            found = await find(worker, "A")
            assert (found.category_id, found.unit_price, found.price) == (None, None, None)

    asyncio.run(scenario())


def test_a_batch_with_one_wrong_product_changes_nothing(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            assert await put(shop, worker, new("A"), new("B", category_id="nowhere")) == UnknownCategory(
                ("nowhere",)
            )
            assert await put(shop, worker, new("A"), new("B", group_id="none")) == UnknownGroup(("none",))
            assert await put(shop, worker, new("A"), new("B", version=1)) == Stale(("B",))
            assert await put(shop, worker, new("A"), known_only=True) == NotFound()
            assert await shop.value("SELECT count(*) FROM products") == 0
            assert await shop.value("SELECT count(*) FROM idempotency") == 0

    asyncio.run(scenario())


def test_a_batch_that_comes_again_under_its_key_counts_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            first = await put(shop, worker, new("A"), key="same")
            again = await put(shop, worker, new("A"), key="same")
            assert (first.replayed, again.replayed, again.added) == (False, True, 1)
            other = await put(shop, worker, new("A"), key="same", fingerprint=b"other")
            assert other == KeyReused()
            assert (await find(worker, "A")).version == 1

    asyncio.run(scenario())


def test_of_two_who_change_the_same_version_one_is_told(shop: Shop) -> None:
    """Lost update: both read version 1; the second one must not overwrite what it has never seen."""

    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            await put(shop, one, new("A"))
            outcomes = await asyncio.gather(
                *(
                    put(shop, worker, ProductChange(sku="A", unit_price=price, version=1))
                    for worker in (one, two)
                    for price in range(300, 310)
                )
            )
            assert sorted(type(outcome).__name__ for outcome in outcomes) == [
                "ProductsChanged",
                *["Stale"] * 19,
            ]
            assert (await find(one, "A")).version == 2

    asyncio.run(scenario())


def test_two_imports_in_opposite_orders_do_not_block_each_other(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            items = [new(f"S{number:03d}") for number in range(200)]
            for price in (100, 200, 300):
                changed = [ProductChange(sku=item.sku, title="T", unit_price=price) for item in items]
                await asyncio.gather(put(shop, one, *changed), put(shop, two, *reversed(changed)))
            assert await shop.value("SELECT count(DISTINCT unit_price) FROM products") == 1

    asyncio.run(scenario())


def test_categories_stay_a_tree_and_count_what_is_below_them(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            # A child may come before its parent in the batch.
            tree = await categories(shop, worker, ("lamp", "light"), ("light", "home"), ("home", None))
            assert tree == Put(3)
            assert await categories(shop, worker, ("home", "lamp")) == CategoryCircle(
                ("home", "lamp", "light")
            )
            assert await categories(shop, worker, ("x", "nowhere")) == UnknownCategory(("nowhere",))
            await put(
                shop, worker, new("A", category_id="lamp"), new("B", category_id="home"),
                new("C", category_id="lamp", published=False),
            )  # fmt: skip
            found = await catalogue.list_categories(worker.primary)
            assert [(item.id, item.path, item.products) for item in found] == [
                ("home", ["home"], 2),
                ("light", ["home", "light"], 1),
                ("lamp", ["home", "light", "lamp"], 1),
            ]

    asyncio.run(scenario())


def test_two_moves_that_are_right_by_themselves_make_no_circle_together(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            for _ in range(10):
                await categories(shop, one, ("a", None), ("b", None))
                await asyncio.gather(categories(shop, one, ("a", "b")), categories(shop, two, ("b", "a")))
                assert len(await catalogue.list_categories(one.primary)) == 2

    asyncio.run(scenario())


def test_search_finds_words_phrases_and_skus_and_ranks_titles_first(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await put(
                shop, worker,
                new("85123A", "WHITE HANGING HEART T-LIGHT HOLDER"),
                new("B", "Glass stars", description="A light of the season"),
                new("C", "Café crème cup", attributes={"material": ["porcelain"]}),
                new("D", "Hidden lights", published=False),
                new("E", "Red lights, lights, lights"),
                new("F", "Sand/stone <bucket>"),
            )  # fmt: skip
            assert await skus(worker, Wish(query="lights")) == ["E", "85123A", "B"]
            assert await skus(worker, Wish(query='"hanging heart"')) == ["85123A"]
            assert await skus(worker, Wish(query="light -heart -season")) == ["E"]
            assert await skus(worker, Wish(query="8512")) == ["85123A"]
            assert await skus(worker, Wish(query="85123a")) == ["85123A"]
            assert await skus(worker, Wish(query="cafe CREME")) == ["C"]
            assert await skus(worker, Wish(query="Café")) == ["C"]
            assert await skus(worker, Wish(query="porcelain")) == ["C"]
            for words in ("stone", "sand", "bucket", "sand/stone", "<bucket>"):
                assert await skus(worker, Wish(query=words)) == ["F"]
            assert await skus(worker, Wish(query="%")) == []
            assert await skus(worker, Wish(query="' OR 1=1 --")) == []
            assert await skus(worker, Wish(query="hidden", unpublished=True)) == ["D"]

    asyncio.run(scenario())


async def _wardrobe(shop: Shop, worker: Trading) -> None:
    await categories(shop, worker, ("wear", None), ("shirts", "wear"), ("socks", "wear"))
    await catalogue.put_groups(
        worker.primary,
        [Group(id="tee", title="Tee", varies_by=["colour", "size"])],
        key=shop.key(),
        fingerprint=b"g",
    )
    shirt = {"category_id": "shirts", "group_id": "tee"}
    await put(
        shop, worker,
        new("T1", "Tee", unit_price=1000, attributes={"colour": ["red"], "size": ["S"]}, **shirt),
        new("T2", "Tee", unit_price=1000, attributes={"colour": ["red"], "size": ["M"]}, **shirt),
        new("T3", "Tee", unit_price=1200, attributes={"colour": ["blue"], "size": ["M"]}, **shirt),
        new("K1", "Sock", unit_price=300, attributes={"colour": ["red", "blue"]}, category_id="socks", tracks_stock=False),
        new("K2", "Sock", unit_price=None, attributes={"colour": ["green"]}, category_id="socks"),
        new("X", "Thing", unit_price=50),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        (Wish(category="wear"), ["K1", "K2", "T1", "T2", "T3"]),
        (Wish(category="shirts"), ["T1", "T2", "T3"]),
        (Wish(category="nowhere"), []),
        (Wish(group="tee"), ["T1", "T2", "T3"]),
        (Wish(attributes={"colour": ["red"]}), ["K1", "T1", "T2"]),
        (Wish(attributes={"colour": ["red", "green"]}), ["K1", "K2", "T1", "T2"]),
        (Wish(attributes={"colour": ["red"], "size": ["M"]}), ["T2"]),
        (Wish(price_min=300, price_max=1000), ["K1", "T1", "T2"]),
        (Wish(in_stock=True), ["K1", "T2"]),
        (Wish(query="sock", attributes={"colour": ["blue"]}), ["K1"]),
        (Wish(attributes={'co"l': ["}{", "%s"]}), []),
    ],
)
def test_filters_narrow_and_cursors_lose_nothing(shop: Shop, wish: Wish, found: list[str]) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await _wardrobe(shop, worker)
            await shop.fetch(
                "UPDATE stock SET on_hand = 5 WHERE sku_id = (SELECT id FROM products WHERE sku = 'T2')"
            )
            for sort in search.SORTS:
                assert sorted(await skus(worker, wish, sort=sort)) == found, sort

    asyncio.run(scenario())


def test_orders_are_kept_over_pages(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await _wardrobe(shop, worker)
            everything = Wish()
            assert await skus(worker, everything, sort="price") == ["X", "K1", "T1", "T2", "T3", "K2"]
            assert await skus(worker, everything, sort="-price") == ["T3", "T1", "T2", "K1", "X", "K2"]
            assert await skus(worker, everything, sort="title") == ["K1", "K2", "T1", "T2", "T3", "X"]
            assert await skus(worker, everything, sort="newest") == ["X", "T3", "T2", "T1", "K2", "K1"]

    asyncio.run(scenario())


def test_facets_count_what_one_more_click_would_show(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await _wardrobe(shop, worker)
            wish = Wish(category="wear", attributes={"colour": ["red"]})
            found = await search.find_facets(worker.primary, "GBP", wish)
            assert (found.total, found.in_stock, found.price_min, found.price_max) == (3, 1, 300, 1000)
            assert {item.value: item.count for item in found.categories} == {
                "wear": 3,
                "shirts": 2,
                "socks": 1,
            }
            shown = {
                name: {item.value: item.count for item in values} for name, values in found.attributes.items()
            }
            # Colours as if none were chosen, sizes among the red ones.
            assert shown == {"colour": {"red": 3, "blue": 2, "green": 1}, "size": {"M": 1, "S": 1}}
            for name, values in shown.items():
                for value, count in values.items():
                    clicked = {**wish.attributes, name: [value]}
                    assert len(await skus(worker, Wish(category="wear", attributes=clicked))) == count

    asyncio.run(scenario())


def test_every_change_of_a_product_is_a_version_with_who_when_and_why(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await put(shop, worker, new("A", "Old title"), reason="first import")
            before = datetime.now(UTC)
            await put(shop, worker, ProductChange(sku="A", title="New title", unit_price=300), reason="rise")
            await put(shop, worker, ProductChange(sku="A", title="New title"), reason="nothing new")
            # Also what goes past the application is kept.
            await shop.fetch("UPDATE products SET unit_price = 1")
            found, following = await versions.history(worker.primary, "A", limit=10)
            assert following is None
            assert [(item.version, item.reason) for item in found] == [
                (3, ""),
                (2, "rise"),
                (1, "first import"),
            ]
            assert [(c.field, c.old, c.new) for c in found[1].changes] == [
                ("title", "Old title", "New title"),
                ("unit_price", 250, 300),
            ]
            page, following = await versions.history(worker.primary, "A", limit=2)
            assert ([item.version for item in page], following) == ([3, 2], 2)
            page, following = await versions.history(worker.primary, "A", limit=2, before=following)
            assert ([item.version for item in page], following) == ([1], None)
            then = await versions.find_product_then(worker.primary, "GBP", "A", before)
            assert then is not None
            assert (then.title, then.price, then.version, then.on_hand) == ("Old title", 250, 1, 0)
            assert (
                await versions.find_product_then(worker.primary, "GBP", "A", before - timedelta(days=1))
                is None
            )

    asyncio.run(scenario())


def test_a_version_bears_who_made_it(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await put(shop, worker, new("A"))
        async with shop.database.connect() as connection, connection.transaction():
            await connection.execute("SELECT set_config('everopen.actor', 'zoë', true)")
            await connection.execute("UPDATE products SET title = 'Other'")
        assert await shop.value("SELECT actor FROM product_versions WHERE version = 2") == "zoë"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM product_versions",
        "UPDATE product_versions SET actor = 'nobody'",
        "INSERT INTO product_versions VALUES (1, 9, now(), '', '', '{}')",
        "UPDATE price_versions SET amount = 1",
        "INSERT INTO price_versions (sku_id) VALUES (1)",
        "UPDATE products SET version = 1",
        "ALTER TABLE products DISABLE TRIGGER USER",
    ],
)
def test_the_application_can_neither_write_nor_change_versions(shop: Shop, statement: str) -> None:
    async def scenario() -> None:
        async with shop.database.connect() as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)

    asyncio.run(scenario())


def test_prices_with_validity_count_at_their_time(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await put(shop, worker, new("A"))
            now = datetime.now(UTC)
            soon = now + timedelta(hours=1)
            prices = [
                Price(199, "GBP", None, now - timedelta(hours=1)),
                Price(299, "GBP", now - timedelta(hours=1), soon),
                Price(399, "GBP", soon, None),
                Price(350, "EUR", None, None),
            ]
            outcome = await catalogue.put_prices(
                worker.primary, "GBP", "A", prices, key=shop.key(), fingerprint=b"1", reason="sale"
            )
            assert outcome == Put(4)
            assert (await find(worker, "A")).price == 299
            assert await skus(worker, Wish(price_min=299, price_max=299)) == ["A"]
            kept = await catalogue.find_prices(worker.primary, "A", datetime.now(UTC))
            assert kept == [prices[3], *prices[:3]]
            wrong = [Price(1, "GBP", None, soon), Price(2, "GBP", now, None)]
            assert await catalogue.put_prices(
                worker.primary, "GBP", "A", wrong, key=shop.key(), fingerprint=b"2"
            ) == PricesOverlap("GBP")
            assert (
                await catalogue.put_prices(
                    worker.primary, "GBP", "none", [], key=shop.key(), fingerprint=b"3"
                )
                == NotFound()
            )
            between = datetime.now(UTC)
            await catalogue.put_prices(worker.primary, "GBP", "A", [], key=shop.key(), fingerprint=b"4")
            assert (await find(worker, "A")).price == 250
            assert await catalogue.find_prices(worker.primary, "A", datetime.now(UTC)) == []
            assert len(await catalogue.find_prices(worker.primary, "A", between)) == 4
            then = await versions.find_product_then(worker.primary, "GBP", "A", between)
            assert then is not None
            assert then.price == 299

    asyncio.run(scenario())
