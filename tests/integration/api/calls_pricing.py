"""One good request for each call of pricing, for the test that holds answers against the OpenAPI document."""

from __future__ import annotations

from typing import Any

from tests.integration.api.conftest import ShopUnderTest

PROMOTION = {
    "label": "Three for two",
    "rule": {"kind": "buy-get", "buy": 2, "target": {"categories": ["mugs"]}},
    "ends_at": "2020-01-01T00:00:00Z",
}
METHOD = {
    "label": "Post",
    "currency": "GBP",
    "countries": ["GB", "IE"],
    "basis": "weight",
    "steps": [{"at_least": 0, "price": 295}, {"at_least": 2000, "price": 495}],
}
TERMS = {
    "prices_include_tax": True,
    "rounding": "half-even",
    "home_country": None,
    "shipping_required": False,
}


def calls(shop: ShopUnderTest) -> dict[str, tuple[str, Any]]:
    """Operation ids with path and body. The rules touch no basket: they are over, or for goods that nobody has."""
    promotion = shop.staff("POST", "/api/promotions", PROMOTION)["id"]
    coupon = {"code": "OPENAPI", "promotion_id": promotion, "limit_total": 3}
    shop.staff("PUT", "/api/coupons", {"coupons": [coupon]})
    rate = {"country": "XX", "rate_bp": 2000}
    rate_id = shop.staff("POST", "/api/tax-rates", rate)["id"]
    return {
        "getPricingTerms": ("/api/pricing-terms", None),
        "putPricingTerms": ("/api/pricing-terms", TERMS),
        "listPromotions": ("/api/promotions?limit=1&ended=true", None),
        "addPromotion": ("/api/promotions", PROMOTION),
        "getPromotion": (f"/api/promotions/{promotion}", None),
        "putPromotion": (f"/api/promotions/{promotion}", PROMOTION),
        "listCoupons": (f"/api/coupons?promotion={promotion}", None),
        "putCoupons": ("/api/coupons", {"coupons": [coupon]}),
        "getCoupon": ("/api/coupons/openapi", None),
        "endCoupon": ("/api/coupons/OPENAPI", None),
        "endPromotion": (f"/api/promotions/{promotion}", None),
        "listTaxRates": ("/api/tax-rates?country=XX", None),
        "addTaxRate": ("/api/tax-rates", rate),
        "getTaxRate": (f"/api/tax-rates/{rate_id}", None),
        "putTaxRate": (f"/api/tax-rates/{rate_id}", rate),
        "endTaxRate": (f"/api/tax-rates/{rate_id}", None),
        "putShippingMethod": ("/api/shipping-methods/openapi", METHOD),
        "listShippingMethods": ("/api/shipping-methods?country=IE", None),
        "getShippingMethod": ("/api/shipping-methods/openapi", None),
        "endShippingMethod": ("/api/shipping-methods/openapi", None),
    }
