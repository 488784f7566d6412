"""What staff type about prices, and what they are told when it is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from everopen.api.bodies import decode
from everopen.api.problems import Refusal
from everopen.api.shapes_pricing import CouponsBody, PromotionBody, ShippingMethodBody, TaxRateBody, TermsBody

OPERATING = Path(__file__).resolve().parents[3] / "docs/operating.md"


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("promotions -H", PromotionBody),
        ("coupons -H", CouponsBody),
        ("tax-rates -H", TaxRateBody),
        ("shipping-methods/post -H", ShippingMethodBody),
        ("pricing-terms -H", TermsBody),
    ],
)
def test_the_examples_in_the_runbook_are_what_the_api_takes(call: str, body: type) -> None:
    found = re.search(rf"\$S/{re.escape(call)}.*? -d '(\{{.*\}})'", OPERATING.read_text())
    assert found is not None
    typed = found[1].replace("<id>", "01a2065e-454b-7fca-bc34-a5b4ef715503")
    assert msgspec.json.decode(typed, type=body)


@pytest.mark.parametrize(
    ("body", "typed", "says"),
    [
        (TaxRateBody, {"country": "gb", "rate_bp": 1}, "a country code of two capitals such as GB"),
        (TaxRateBody, {"country": "GB", "rate_bp": -1}, "at least 0"),
        (CouponsBody, {"coupons": [{"code": "Ä", "promotion_id": "x"}]}, "letters, digits, - and _"),
        (ShippingMethodBody, {"label": "P", "currency": "pound", "steps": []}, "such as GBP"),
        (PromotionBody, {"label": "", "rule": {"kind": "percentage", "off_bp": 1}}, "must not be empty"),
    ],
)
def test_a_wrong_field_is_named_in_words(body: type, typed: object, says: str) -> None:
    with pytest.raises(Refusal) as refusal:
        decode(msgspec.json.Decoder(body), msgspec.json.encode(typed))
    assert says in refusal.value.detail
