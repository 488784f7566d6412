"""What comes on top of goods: tax rates and shipping methods, which staff set and of which anybody may know the latter."""

from __future__ import annotations

import re
from uuid import UUID

from everopen.api.catalogue import replay_header
from everopen.api.pricing import (
    ENDED,
    WRITE,
    flag,
    found_or_404,
    id_of,
    key_of,
    made,
    require_currency,
    shown,
    span,
)
from everopen.api.problems import Refusal
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shapes import COUNTRY_PATTERN
from everopen.api.shapes_pricing import (
    METHOD_PATTERN,
    ShippingMethodAnswer,
    ShippingMethodBody,
    ShippingMethodsAnswer,
    TaxRateAnswer,
    TaxRateBody,
    TaxRatesAnswer,
)
from everopen.api.shop import Shop
from everopen.base.ids import uuid7
from everopen.trading.pricing import tax_shipping
from everopen.trading.pricing.rules import ShippingMethod, ShippingStep, TaxRate


def country_of(call: Call) -> str | None:
    """The parameter `country`. Raises a 422 `Refusal`."""
    text = call.parameters.get("country")
    if text is not None and not re.fullmatch(COUNTRY_PATTERN, text):
        raise Refusal("bad-input", "`country` must be a code of two capitals such as GB.")
    return text


# --- tax rates


def rate_of(body: TaxRateBody) -> TaxRate:
    """A tax rate that makes sense. Raises a 422 `Refusal`."""
    starts_at, ends_at = span(body.starts_at, body.ends_at)
    return TaxRate(
        country=body.country,
        tax_category=body.tax_category,
        rate_bp=body.rate_bp,
        starts_at=starts_at,
        ends_at=ends_at,
    )


async def list_tax_rates(shop: Shop, call: Call) -> Answer:
    """All tax rates."""
    found = await tax_shipping.list_tax_rates(
        shop.primary, country=country_of(call), ended=flag(call, "ended")
    )
    return Answer(TaxRatesAnswer([shown(TaxRateAnswer, rate) for rate in found]))


async def _tax_rate(shop: Shop, rate_id: UUID) -> TaxRateAnswer:
    return shown(
        TaxRateAnswer, found_or_404(await tax_shipping.find_tax_rate(shop.primary, rate_id), "tax rate")
    )


async def get_tax_rate(shop: Shop, call: Call) -> Answer:
    """One tax rate."""
    return Answer(await _tax_rate(shop, id_of(call, "tax rate")))


async def add_tax_rate(shop: Shop, call: Call) -> Answer:
    """Adds a tax rate."""
    rate_id = uuid7()
    outcome = made(
        await tax_shipping.add_tax_rate(shop.primary, rate_id, rate_of(call.body), key_of(call, call.body)),
        "tax rate",
    )
    return Answer(await _tax_rate(shop, outcome.id or rate_id), replay_header(outcome.replayed))


async def put_tax_rate(shop: Shop, call: Call) -> Answer:
    """Replaces a tax rate; one that was ended begins again. Orders keep the rate that they were placed with."""
    rate_id = id_of(call, "tax rate")
    outcome = made(
        await tax_shipping.set_tax_rate(shop.primary, rate_id, rate_of(call.body), key_of(call, call.body)),
        "tax rate",
    )
    return Answer(await _tax_rate(shop, rate_id), replay_header(outcome.replayed))


async def end_tax_rate(shop: Shop, call: Call) -> Answer:
    """Ends a tax rate."""
    rate_id = id_of(call, "tax rate")
    outcome = made(await tax_shipping.end_tax_rate(shop.primary, rate_id, key_of(call, "end")), "tax rate")
    return Answer(await _tax_rate(shop, rate_id), replay_header(outcome.replayed))


# --- shipping methods


def method_code(call: Call) -> str:
    """The code in the path. Raises a 404 `Refusal` for what can't be one."""
    code = call.parameters["code"]
    if not re.fullmatch(METHOD_PATTERN, code):
        raise Refusal("not-found", "There is no such shipping method.")
    return code


def method_of(body: ShippingMethodBody, code: str) -> ShippingMethod:
    """A shipping method that makes sense. Raises a 422 `Refusal`."""
    require_currency(body.currency)
    bounds = [step.at_least for step in body.steps]
    if bounds != sorted(set(bounds)):
        raise Refusal("bad-input", "`steps`: each `at_least` must be greater than the one before.")
    return ShippingMethod(
        code=code,
        label=body.label,
        currency=body.currency,
        countries=tuple(sorted(set(body.countries))),
        tax_category=body.tax_category,
        basis=body.basis,
        weight_g_max=body.weight_g_max,
        steps=tuple(ShippingStep(step.at_least, step.price) for step in body.steps),
    )


async def list_shipping_methods(shop: Shop, call: Call) -> Answer:
    """The ways to send goods to a country, or all there are."""
    found = await tax_shipping.list_shipping_methods(shop.primary, country=country_of(call))
    return Answer(ShippingMethodsAnswer([shown(ShippingMethodAnswer, method) for method in found]))


async def _shipping_method(shop: Shop, code: str) -> ShippingMethodAnswer:
    found = await tax_shipping.find_shipping_method(shop.primary, code)
    return shown(ShippingMethodAnswer, found_or_404(found, "shipping method"))


async def get_shipping_method(shop: Shop, call: Call) -> Answer:
    """One shipping method, also one that was ended."""
    return Answer(await _shipping_method(shop, method_code(call)))


async def put_shipping_method(shop: Shop, call: Call) -> Answer:
    """Adds or replaces a shipping method; one that was ended begins again."""
    code = method_code(call)
    method = method_of(call.body, code)
    outcome = made(
        await tax_shipping.put_shipping_method(shop.primary, method, key_of(call, call.body)),
        "shipping method",
    )
    return Answer(await _shipping_method(shop, code), replay_header(outcome.replayed))


async def end_shipping_method(shop: Shop, call: Call) -> Answer:
    """Ends a shipping method."""
    code = method_code(call)
    outcome = made(
        await tax_shipping.end_shipping_method(shop.primary, code, key_of(call, "end")), "shipping method"
    )
    return Answer(await _shipping_method(shop, code), replay_header(outcome.replayed))


_COUNTRY = Parameter("country", "Only for this country (ISO 3166-1, two capitals).", pattern=COUNTRY_PATTERN)
_RATE = Parameter("id", "The tax rate.", "path")
_METHOD = Parameter("code", "The shipping method.", "path", pattern=METHOD_PATTERN)

# fmt: off
ROUTES: tuple[Route, ...] = (
    Route("GET", "/api/tax-rates", "listTaxRates", "Tax rates", list_tax_rates, TaxRatesAnswer,
          parameters=(_COUNTRY, ENDED), scope=WRITE),
    Route("POST", "/api/tax-rates", "addTaxRate", "Add a tax rate", add_tax_rate, TaxRateAnswer, TaxRateBody, 201,
          scope=WRITE, keyed=True),
    Route("GET", "/api/tax-rates/{id}", "getTaxRate", "One tax rate", get_tax_rate, TaxRateAnswer,
          refusals=("not-found",), parameters=(_RATE,), scope=WRITE),
    Route("PUT", "/api/tax-rates/{id}", "putTaxRate", "Replace a tax rate", put_tax_rate, TaxRateAnswer, TaxRateBody,
          refusals=("not-found",), parameters=(_RATE,), scope=WRITE, keyed=True),
    Route("DELETE", "/api/tax-rates/{id}", "endTaxRate", "End a tax rate", end_tax_rate, TaxRateAnswer,
          refusals=("not-found",), parameters=(_RATE,), scope=WRITE, keyed=True),
    Route("GET", "/api/shipping-methods", "listShippingMethods", "The ways to send goods", list_shipping_methods,
          ShippingMethodsAnswer, parameters=(_COUNTRY,)),
    Route("GET", "/api/shipping-methods/{code}", "getShippingMethod", "One way to send goods", get_shipping_method,
          ShippingMethodAnswer, refusals=("not-found",), parameters=(_METHOD,)),
    Route("PUT", "/api/shipping-methods/{code}", "putShippingMethod", "Add or replace a shipping method", put_shipping_method,
          ShippingMethodAnswer, ShippingMethodBody, refusals=("not-found",), parameters=(_METHOD,), scope=WRITE, keyed=True),
    Route("DELETE", "/api/shipping-methods/{code}", "endShippingMethod", "End a shipping method", end_shipping_method,
          ShippingMethodAnswer, refusals=("not-found",), parameters=(_METHOD,), scope=WRITE, keyed=True),
)
# fmt: on
