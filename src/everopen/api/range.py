"""How the range is ordered: categories and product groups."""

from __future__ import annotations

from everopen.api import answers_range as answers
from everopen.api.catalogue import replay_header, within_batch
from everopen.api.cursors import cut, page_parameters, read_page
from everopen.api.hot import fingerprint
from everopen.api.problems import Refusal
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shapes_range import (
    CategoriesAnswer,
    CategoriesBody,
    CategoryAnswer,
    GroupAnswer,
    GroupsAnswer,
    GroupsBody,
    PutAnswer,
)
from everopen.api.shop import Shop
from everopen.api.stock import once
from everopen.trading import catalogue, search
from everopen.trading.range import Category, Group, Put
from everopen.trading.search import Wish

VARIANTS_MAX = 200


async def list_categories(shop: Shop, _call: Call) -> Answer:
    """The tree of categories."""
    return Answer(CategoriesAnswer(await categories_of(shop)))


async def categories_of(shop: Shop) -> list[CategoryAnswer]:
    """All categories, each after its parent."""
    return [answers.category(item) for item in await catalogue.list_categories(shop.primary)]


async def put_categories(shop: Shop, call: Call) -> Answer:
    """Adds or changes categories."""
    body: CategoriesBody = call.body
    within_batch(shop, "categories", len(body.categories))
    once([*body.categories], "categories")
    items = [
        Category(id=item.id, name=item.name, parent=item.parent, position=item.position)
        for item in body.categories
    ]
    outcome = await catalogue.put_categories(
        shop.primary, items, key=call.key, fingerprint=fingerprint("categories", items)
    )
    if not isinstance(outcome, Put):
        answers.refuse(outcome)
    return Answer(PutAnswer(outcome.items), replay_header(outcome.replayed))


async def list_groups(shop: Shop, call: Call) -> Answer:
    """Product groups."""
    limit, after = read_page(call, "groups", tuple[str])
    found = await catalogue.list_groups(
        shop.primary, limit=limit + 1, after="" if after is None else after[0]
    )
    shown, following = cut(found, limit, "groups", lambda item: (item.id,))
    return Answer(GroupsAnswer([answers.group(item) for item in shown], following))


async def get_group(shop: Shop, call: Call) -> Answer:
    """One product group with its variants."""
    group_id = call.parameters["id"]
    found = await group_of(shop, group_id)
    if found is None:
        raise Refusal("not-found", f"There is no product group “{group_id[:80]}”.")
    return Answer(found)


async def group_of(shop: Shop, group_id: str) -> GroupAnswer | None:
    """A group with the variants that visitors see; None when there is no such group."""
    found = await catalogue.find_group(shop.primary, group_id)
    if found is None:
        return None
    page = await search.find_products(
        shop.primary, shop.currency, Wish(group=group_id), limit=VARIANTS_MAX, sort="newest"
    )
    variants = [answers.product(product) for product in reversed(page.products)]  # as staff added them
    return GroupAnswer(found.id, found.title, found.description, found.varies_by, variants)


async def put_groups(shop: Shop, call: Call) -> Answer:
    """Adds or changes product groups."""
    body: GroupsBody = call.body
    within_batch(shop, "groups", len(body.groups))
    once([*body.groups], "groups")
    items = [
        Group(id=item.id, title=item.title, description=item.description, varies_by=item.varies_by)
        for item in body.groups
    ]
    outcome = await catalogue.put_groups(
        shop.primary, items, key=call.key, fingerprint=fingerprint("groups", items)
    )
    if not isinstance(outcome, Put):
        answers.refuse(outcome)
    return Answer(PutAnswer(outcome.items), replay_header(outcome.replayed))


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/api/categories",
        "listCategories",
        "The tree of categories",
        list_categories,
        CategoriesAnswer,
    ),
    Route(
        "PUT",
        "/api/categories",
        "putCategories",
        "Add or change categories",
        put_categories,
        PutAnswer,
        CategoriesBody,
        refusals=("unknown-category", "conflict"),
        scope="catalogue:write",
        keyed=True,
    ),
    Route(
        "GET",
        "/api/groups",
        "listGroups",
        "Product groups",
        list_groups,
        GroupsAnswer,
        parameters=page_parameters(),
    ),
    Route(
        "PUT",
        "/api/groups",
        "putGroups",
        "Add or change product groups",
        put_groups,
        PutAnswer,
        GroupsBody,
        scope="catalogue:write",
        keyed=True,
        batch=True,
    ),
    Route(
        "GET",
        "/api/groups/{id}",
        "getGroup",
        "One product group with its variants",
        get_group,
        GroupAnswer,
        refusals=("not-found",),
        parameters=(Parameter("id", "The group.", "path"),),
    ),
)
