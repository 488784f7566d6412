"""Calls of `carts`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from everopen.api.shapes import CartAnswer, CartLineBody, CheckoutBody, OrderAnswer, QuantityBody
from everopen.client.caller import Caller


class CartsCalls(Caller):
    """Calls of `carts`."""

    async def get_cart(self, *, deadline_s: float | None = None) -> CartAnswer:
        """What lies in the session's cart: `GET /api/cart`."""
        found: CartAnswer = await self.call("GET", "/api/cart", CartAnswer, deadline_s=deadline_s)
        return found

    async def clear_cart(self, *, key: str | None = None, deadline_s: float | None = None) -> CartAnswer:
        """Empty the cart: `DELETE /api/cart`."""
        found: CartAnswer = await self.call("DELETE", "/api/cart", CartAnswer, key=key, deadline_s=deadline_s)
        return found

    async def add_to_cart(
        self, body: CartLineBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> CartAnswer:
        """Put more of a product into the cart: `POST /api/cart/lines`."""
        found: CartAnswer = await self.call(
            "POST", "/api/cart/lines", CartAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def set_cart_line(
        self, sku: str, body: QuantityBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> CartAnswer:
        """Set how many of a product are in the cart: `PATCH /api/cart/lines/{sku}`."""
        found: CartAnswer = await self.call(
            "PATCH",
            "/api/cart/lines/{sku}",
            CartAnswer,
            places={"sku": sku},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def remove_cart_line(
        self, sku: str, *, key: str | None = None, deadline_s: float | None = None
    ) -> CartAnswer:
        """Take a product out of the cart: `DELETE /api/cart/lines/{sku}`."""
        found: CartAnswer = await self.call(
            "DELETE", "/api/cart/lines/{sku}", CartAnswer, places={"sku": sku}, key=key, deadline_s=deadline_s
        )
        return found

    async def checkout(
        self, body: CheckoutBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> OrderAnswer:
        """Order what is in the cart: `POST /api/checkout`."""
        found: OrderAnswer = await self.call(
            "POST", "/api/checkout", OrderAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found
