"""All calls of the shop, by subject. Made by tools/make_client.py; not changed by hand."""

from everopen.client.calls.carts import CartsCalls
from everopen.client.calls.catalogue import CatalogueCalls
from everopen.client.calls.events import EventsCalls
from everopen.client.calls.jobs import JobsCalls
from everopen.client.calls.ledger import LedgerCalls
from everopen.client.calls.lifecycle import LifecycleCalls
from everopen.client.calls.money import MoneyCalls
from everopen.client.calls.orders import OrdersCalls
from everopen.client.calls.people import PeopleCalls
from everopen.client.calls.pricing import PricingCalls
from everopen.client.calls.products import ProductsCalls
from everopen.client.calls.quotes import QuotesCalls
from everopen.client.calls.range import RangeCalls
from everopen.client.calls.returns import ReturnsCalls
from everopen.client.calls.shop import ShopCalls
from everopen.client.calls.staff import StaffCalls
from everopen.client.calls.stock import StockCalls
from everopen.client.calls.tax_shipping import TaxShippingCalls


class Calls(
    CartsCalls,
    CatalogueCalls,
    EventsCalls,
    JobsCalls,
    LedgerCalls,
    LifecycleCalls,
    MoneyCalls,
    OrdersCalls,
    PeopleCalls,
    PricingCalls,
    ProductsCalls,
    QuotesCalls,
    RangeCalls,
    ReturnsCalls,
    ShopCalls,
    StaffCalls,
    StockCalls,
    TaxShippingCalls,
):
    """Every call of the table."""
