"""The storefront's HTML of the range: what narrows a list of products, and what stands beside one. As `markup.py`.

Every choice is a link or a field of a form that names the whole state of the page, so the back button, a bookmark and a
visitor without JavaScript get what they expect."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Sequence
from html import escape as esc

from everopen.api.markup import money, name_of, product_path
from everopen.api.shapes_range import CategoryAnswer, FacetAnswer, FacetsAnswer, ProductAnswer

Pairs = tuple[tuple[str, str], ...]
KEPT = ("q", "category", "attribute", "in_stock", "from", "to", "sort")
"""Parameters of the page that links keep; the page after which it begins is not one of them."""
SORTS = {
    "relevance": "Best match",
    "newest": "Newest",
    "price": "Price, low to high",
    "-price": "Price, high to low",
    "title": "Name",
    "sku": "SKU",
}
VALUES_SHOWN = 12


def kept(query: Iterable[tuple[str, str]]) -> Pairs:
    """What of an address says how the list is narrowed."""
    return tuple((name, value.strip()) for name, value in query if name in KEPT and value.strip())


def address(pairs: Iterable[tuple[str, str]]) -> str:
    """The list narrowed like that, escaped."""
    text = urllib.parse.urlencode(list(pairs))
    return esc(f"/?{text}" if text else "/")


def without(pairs: Pairs, *names: str) -> Pairs:
    """The address without these parameters."""
    return tuple(pair for pair in pairs if pair[0] not in names)


def toolbar(pairs: Pairs, currency: str) -> str:
    """Order, stock and price: a form that keeps everything else."""
    now = dict(pairs)
    hidden = "".join(
        f'<input type="hidden" name="{esc(name)}" value="{esc(value)}">'
        for name, value in without(pairs, "sort", "in_stock", "from", "to")
    )
    usual = "relevance" if "q" in now else "sku"
    options = "".join(
        f'<option value="{value}"{" selected" if value == now.get("sort", usual) else ""}>{label}</option>'
        for value, label in SORTS.items()
        if value != "relevance" or "q" in now
    )
    checked = " checked" if now.get("in_stock") in ("true", "1") else ""
    limits = "".join(
        f'<label>{label} <input class="number" name="{name}" inputmode="decimal" maxlength="14" '
        f'value="{esc(now.get(name, ""))}" aria-label="Price {name} in {currency}"></label>'
        for name, label in (("from", "Price from"), ("to", "to"))
    )
    return f"""<form class="toolbar" action="/" method="get" aria-label="Narrow the list">{hidden}
<label>Sort by <select name="sort">{options}</select></label>{limits}
<label class="check"><input type="checkbox" name="in_stock" value="true"{checked}> In stock only</label>
<button class="quiet">Apply</button></form>"""


def aside(pairs: Pairs, categories: Sequence[CategoryAnswer], facets: FacetsAnswer | None) -> str:
    """Categories and attributes with counts; empty when there is nothing to choose."""
    parts = [_categories(pairs, categories, facets)]
    if facets is not None:
        parts += [_attribute(pairs, facet) for facet in facets.attributes]
    inside = "".join(parts)
    return f'<aside class="facets" aria-label="Narrow the list">{inside}</aside>' if inside else ""


def _categories(pairs: Pairs, categories: Sequence[CategoryAnswer], facets: FacetsAnswer | None) -> str:
    counts = {item.id: item.products for item in categories}
    if facets is not None:
        counts = {item.value: item.count for item in facets.categories}
    chosen = dict(pairs).get("category")
    here = next((item for item in categories if item.id == chosen), None)
    names = {item.id: item.name for item in categories}
    others = without(pairs, "category")
    rows = []
    if here is not None:
        rows.append(f'<li><a href="{address(others)}">← All categories</a></li>')
        rows += [
            f'<li><a href="{address((*others, ("category", item)))}">{esc(names[item])}</a></li>'
            for item in here.path[:-1]
        ]
        rows.append(f'<li><span aria-current="true">{esc(here.name)}</span></li>')
    below = [item for item in categories if item.parent == (None if here is None else here.id)]
    rows += [
        f'<li class="{"below" if here is not None else ""}"><a href="{address((*others, ("category", item.id)))}">'
        f'{esc(item.name)}</a> <span class="count">{counts[item.id]:,}</span></li>'
        for item in below
        if counts.get(item.id)
    ]
    return f"<section><h2>Categories</h2><ul>{''.join(rows)}</ul></section>" if rows else ""


def _attribute(pairs: Pairs, facet: FacetAnswer) -> str:
    chosen = {value for name, value in pairs if name == "attribute"}
    rows = []
    for value in facet.values[:VALUES_SHOWN]:
        pair = f"{facet.name}:{value.value}"
        if pair in chosen:
            link = address(item for item in pairs if item != ("attribute", pair))
            rows.append(
                f'<li><a href="{link}" aria-current="true" aria-label="Without {esc(value.value)}">✓ {esc(value.value)}</a> '
                f'<span class="count">{value.count:,}</span></li>'
            )
        else:
            link = address((*pairs, ("attribute", pair)))
            rows.append(
                f'<li><a href="{link}">{esc(value.value)}</a> <span class="count">{value.count:,}</span></li>'
            )
    return f"<section><h2>{esc(label(facet.name))}</h2><ul>{''.join(rows)}</ul></section>"


def label(name: str) -> str:
    """An attribute's name as a heading."""
    return name[:1].upper() + name[1:]


def crumbs(product: ProductAnswer, categories: Sequence[CategoryAnswer]) -> str:
    """The way to a product's category."""
    here = next((item for item in categories if item.id == product.category), None)
    if here is None:
        return '<a href="/">← All products</a>'
    names = {item.id: item.name for item in categories}
    links = [f'<a href="{address([("category", item)])}">{esc(names[item])}</a>' for item in here.path]
    return " › ".join(['<a href="/">All products</a>', *links])


def variants(product: ProductAnswer, found: Sequence[ProductAnswer], varies_by: Sequence[str]) -> str:
    """The other variants of a product's group, told apart by what they vary by."""
    if len(found) < 2:
        return ""
    rows = []
    for item in found:
        said = " · ".join(
            ", ".join(values) for name in varies_by if (values := item.attributes.get(name))
        ) or name_of(item.title)
        price = (
            ""
            if item.price is None or item.price == product.price
            else f" <small>{money(item.price)}</small>"
        )
        gone = ' class="gone"' if item.available == 0 else ""
        note = ' <small class="stock none">sold out</small>' if item.available == 0 else ""
        if item.sku == product.sku:
            rows.append(f'<li><span class="variant" aria-current="true">{esc(said)}</span></li>')
        else:
            rows.append(
                f'<li{gone}><a class="variant" href="{esc(product_path(item.sku))}">{esc(said)}{price}{note}</a></li>'
            )
    heading = esc(label(" and ".join(varies_by))) or "Variants"
    return f'<div class="variants"><h2>{heading}</h2><ul>{"".join(rows)}</ul></div>'


def facts(product: ProductAnswer) -> str:
    """A product's attributes and weight as a list."""
    rows = [
        (esc(label(name)), ", ".join(esc(value) for value in values))
        for name, values in product.attributes.items()
    ]
    if product.weight_g:
        rows.append(
            (
                "Weight",
                f"{product.weight_g / 1000:,g} kg" if product.weight_g >= 1000 else f"{product.weight_g} g",
            )
        )
    if product.buyer_limit is not None:
        rows.append(("Per customer", f"at most {product.buyer_limit:,}"))
    if not rows:
        return ""
    return f'<dl class="facts">{"".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)}</dl>'
