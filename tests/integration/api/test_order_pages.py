"""The pages of an order: its story, the form of a return, documents to print; safe with whatever people type."""

from __future__ import annotations

import re

from tests.integration.api.conftest import ShopUnderTest
from tests.integration.api.test_lifecycle_http import paid, staff


def form_of(page: str, action: str) -> dict[str, str]:
    """The hidden fields of a form."""
    form = page[page.index(f'action="{action}"') :]
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form[: form.index("</form>")]))


def test_an_order_s_page_tells_its_story_and_takes_a_return(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=9, price=200, title="Jar & <b>lid</b>")
    order = paid(shop, sku, 3)
    page = shop.client.get(f"/orders/{order}").text
    assert "You placed the order over £6.00." in page
    assert "Send something back" not in page
    staff(shop, f"/api/orders/{order}/shipments", {"carrier": "<i>DHL</i>", "tracking": "JD1"})
    page = shop.client.get(f"/orders/{order}").text
    assert "Parcel 1 with 3 pieces was sent: &lt;i&gt;DHL&lt;/i&gt; JD1." in page
    assert "<i>DHL" not in page
    assert "<b>lid" not in page
    action = f"/orders/{order}/returns"
    wanted = {**form_of(page, action), "sku": sku, "quantity": "2", "reason": "<script>alert(1)</script>"}
    done = shop.client.post(action, data=wanted, follow_redirects=True)
    again = shop.client.post(action, data=wanted, follow_redirects=True)
    assert (done.status_code, again.status_code) == (200, 200)
    assert done.text.count("You asked to send 2 pieces back") == 1
    assert again.text.count("You asked to send 2 pieces back") == 1
    assert "<script" not in again.text
    over = shop.client.post(action, data={**form_of(again.text, action), "sku": sku, "quantity": "2"})
    assert (over.status_code, "only 1 were sent" in over.text) == (409, True)
    wrong = shop.client.post(action, data={**form_of(again.text, action), "sku": sku, "quantity": "x"})
    assert wrong.status_code == 422
    foreign = shop.client.post(action, data=wanted, headers={"origin": "https://elsewhere.example"})
    assert foreign.status_code == 403
    rest = shop.client.post(action, data={**form_of(again.text, action), "sku": ""}, follow_redirects=True)
    assert "You asked to send 1 piece back" in rest.text
    assert shop.client.post("/orders/nope/returns", data=wanted).status_code == 404


def test_invoice_and_credit_notes_can_be_printed(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=9, price=200, title="Jar & <b>lid</b>")
    order = paid(shop, sku, 3)
    staff(
        shop, f"/api/orders/{order}/cancel", {"lines": [{"sku": sku, "quantity": 1}], "reason": "<u>why</u>"}
    )
    page = shop.client.get(f"/orders/{order}").text
    number = re.search(rf"/orders/{order}/credit-notes/([A-Z0-9-]+)", page)
    assert number is not None
    assert f"/orders/{order}/invoice" in page
    invoice = shop.client.get(f"/orders/{order}/invoice")
    assert (invoice.status_code, invoice.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "£6.00" in invoice.text
    assert "<b>lid" not in invoice.text
    note = shop.client.get(f"/orders/{order}/credit-notes/{number[1]}").text
    assert "£2.00" in note
    assert "&lt;u&gt;why&lt;/u&gt;" in note
    other = paid(shop, sku)
    assert shop.client.get(f"/orders/{other}/credit-notes/{number[1]}").status_code == 404, "not this order's"
    waiting = shop.order(sku, token="tok_decline").json()["id"]
    shop.settled(waiting)
    refused = shop.client.get(f"/orders/{waiting}/invoice", headers={"accept": "text/html"})
    assert (refused.status_code, "once it is paid" in refused.text) == (409, True)
