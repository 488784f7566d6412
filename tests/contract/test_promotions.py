"""One suite for every kind of promotion: a kind that is added to `PROMOTIONS` is held to it by itself.

The fields of a kind are made at random from their types, so this file knows none of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everopen.trading.pricing.promotions import PROMOTIONS, Pool, Rule, Target
from everopen.trading.pricing.quote import BasketLine
from tests.unit.trading.pricing.baskets import CATEGORIES, SKUS

TARGETS = st.builds(
    Target,
    skus=st.lists(st.sampled_from(SKUS), max_size=2).map(tuple),
    categories=st.lists(st.sampled_from(CATEGORIES), max_size=1).map(tuple),
)
LINES = st.lists(
    st.builds(
        BasketLine,
        sku=st.sampled_from(SKUS),
        quantity=st.integers(1, 30),
        unit_price=st.integers(0, 10_000),
        category=st.sampled_from((None, *CATEGORIES)),
    ),
    min_size=1,
    max_size=6,
)


def values(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    match kind:
        case msgspec.inspect.Metadata(type=inner):
            return values(inner)
        case msgspec.inspect.IntType(ge=least, le=most):
            low = 0 if least is None else least
            return st.integers(low, min(low + 20_000 if most is None else most, low + 20_000))
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.LiteralType(values=given):
            return st.sampled_from(given)
        case msgspec.inspect.UnionType(types=given):
            return st.one_of(*(values(one) for one in given))
        case msgspec.inspect.StructType(cls=found) if found is Target:
            return TARGETS
        case msgspec.inspect.VarTupleType():
            return st.sampled_from(((), ("post",), ("van",)))
    raise AssertionError(f"{kind} is new in a kind of promotion: say here how to make one")


def instances(name: str) -> st.SearchStrategy[Rule]:
    """Promotions of a kind with any fields that it may have."""
    kind = PROMOTIONS[name]
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    return st.builds(kind, **{field.name: values(field.type) for field in info.fields})  # type: ignore[return-value]


def taken(rule: Rule, lines: list[BasketLine], shipping: int = 295) -> tuple[Pool, int]:
    """The pool after the promotion, and what it says it gave."""
    pool = Pool(lines, "half-even", "post", shipping)
    meant = [target.matcher() for target in rule.targets]
    places = [place for place, line in enumerate(lines) if any(one(line) for one in meant)]
    return pool, rule.take(pool, places) if places else 0


@pytest.mark.parametrize("name", sorted(PROMOTIONS))
@given(data=st.data(), lines=LINES)
def test_what_it_says_it_gave_is_what_came_off(
    name: str, data: st.DataObject, lines: list[BasketLine]
) -> None:
    rule = data.draw(instances(name))
    pool, amount = taken(rule, lines)
    before = [line.quantity * line.unit_price for line in lines]
    assert amount == sum(before) - sum(pool.left) + 295 - pool.shipping
    assert all(0 <= left <= full for left, full in zip(pool.left, before, strict=True))
    assert 0 <= pool.shipping <= 295


@pytest.mark.parametrize("name", sorted(PROMOTIONS))
@given(data=st.data(), lines=LINES)
def test_it_touches_only_lines_that_it_reaches(
    name: str, data: st.DataObject, lines: list[BasketLine]
) -> None:
    rule = data.draw(instances(name))
    pool, _ = taken(rule, lines)
    for place, line in enumerate(lines):
        if pool.left[place] != line.quantity * line.unit_price:
            assert any(target.matcher()(line) for target in rule.targets)


@pytest.mark.parametrize("name", sorted(PROMOTIONS))
@given(data=st.data())
def test_it_comes_back_from_the_database_as_it_went_in(name: str, data: st.DataObject) -> None:
    rule = data.draw(instances(name))
    document = msgspec.json.encode(rule)
    assert msgspec.json.decode(document, type=Rule) == rule
    assert msgspec.json.decode(document)["kind"] == name


@pytest.mark.parametrize("name", sorted(PROMOTIONS))
@given(data=st.data(), lines=LINES)
def test_nothing_is_left_to_give_on_lines_that_are_free(
    name: str, data: st.DataObject, lines: list[BasketLine]
) -> None:
    rule = data.draw(instances(name))
    free = [msgspec.structs.replace(line, unit_price=0) for line in lines]
    _, amount = taken(rule, free, shipping=0)
    assert amount == 0
