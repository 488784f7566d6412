"""Stripe's units, forms and objects, without a network."""

from __future__ import annotations

import pytest

from everopen.base.errors import ConfigError
from everopen.base.ids import uuid7
from everopen.base.money import EXPONENTS
from everopen.trading.payments import Answer
from everopen.trading.payments.settings import StripeSettings
from everopen.trading.payments.signing import sign, verify
from everopen.trading.payments.stripe import read_balance, read_intent, read_refund, stripe_setup
from everopen.trading.payments.stripe_wire import form, from_stripe, to_stripe


@pytest.mark.parametrize(
    ("amount", "currency", "theirs"),
    [
        (1099, "USD", 1099),
        (500, "JPY", 500),  # no decimals, here and there
        (500, "ISK", 50_000),  # none by ISO, hundredths at Stripe
        (12, "UGX", 1200),
        (5120, "KWD", 5120),  # thousandths, the last digit 0
        (1200, "MGA", 12),  # hundredths by ISO, none at Stripe
        (1, "KRW", 1),
        (3, "XOF", 3),
    ],
)
def test_amounts_are_counted_as_stripe_counts_each_currency(amount: int, currency: str, theirs: int) -> None:
    assert to_stripe(amount, currency) == theirs
    assert from_stripe(theirs, currency) == amount


@pytest.mark.parametrize(("amount", "currency"), [(5123, "KWD"), (1250, "MGA"), (1, "BHD")])
def test_an_amount_that_stripe_cannot_charge_exactly_is_refused_not_rounded(
    amount: int, currency: str
) -> None:
    with pytest.raises(ValueError, match=currency):
        to_stripe(amount, currency)


def test_every_currency_comes_back_as_it_went() -> None:
    for currency in EXPONENTS:
        assert from_stripe(to_stripe(123_000, currency), currency) == 123_000


def test_nested_values_become_form_fields() -> None:
    values = {"a": 1, "b": None, "c": {"d": True, "e": {"f": "x"}}, "g": ["h", "i"]}
    assert list(form(values)) == [("a", "1"), ("c[d]", "true"), ("c[e][f]", "x"), ("g[]", "h"), ("g[]", "i")]


@pytest.mark.parametrize(
    ("status", "error", "charge", "hold"),
    [
        ("succeeded", None, Answer.APPROVED, Answer.APPROVED),
        ("requires_capture", None, Answer.UNKNOWN, Answer.APPROVED),
        ("canceled", None, Answer.DECLINED, Answer.LAPSED),
        ("requires_payment_method", {"code": "card_declined"}, Answer.DECLINED, Answer.DECLINED),
        ("requires_payment_method", None, Answer.UNKNOWN, Answer.UNKNOWN),
        ("requires_confirmation", None, Answer.UNKNOWN, Answer.UNKNOWN),
        ("requires_action", None, Answer.UNKNOWN, Answer.UNKNOWN),
        ("processing", None, Answer.UNKNOWN, Answer.UNKNOWN),
        ("a new one", None, Answer.UNKNOWN, Answer.UNKNOWN),
    ],
)
def test_only_a_clear_state_of_an_intent_settles(
    status: str, error: object, charge: Answer, hold: Answer
) -> None:
    intent = {"id": "pi_1", "status": status, "last_payment_error": error}
    assert read_intent(intent, hold=False).answer is charge
    assert read_intent(intent, hold=True).answer is hold


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ("succeeded", Answer.APPROVED),
        ("failed", Answer.DECLINED),
        ("canceled", Answer.DECLINED),
        ("pending", Answer.UNKNOWN),
        ("requires_action", Answer.UNKNOWN),
        (None, Answer.UNKNOWN),
    ],
)
def test_a_refund_that_is_pending_is_neither_paid_nor_refused(status: str | None, answer: Answer) -> None:
    assert read_refund({"id": "re_1", "status": status}).answer is answer


def test_the_balance_has_captures_refunds_and_refunds_that_came_back() -> None:
    mine = uuid7()
    marked = {"metadata": {"everopen_intent": str(mine)}, "currency": "jpy", "id": "x"}
    charge = {**marked, "amount": 900, "amount_captured": 700}
    refund = {**marked, "amount": 300}
    rows = [
        {"type": "charge", "created": 5, "source": charge},
        {"type": "refund", "created": 6, "source": refund},
        {"type": "refund_failure", "created": 7, "source": refund},
        {"type": "stripe_fee", "created": 8, "source": None},
        {"type": "payout", "created": 9, "source": {"id": "po"}},
        {"type": "charge", "created": 9, "source": {**charge, "metadata": {}}},
    ]
    found = [read_balance(row) for row in rows]
    assert [(one.kind, one.id, one.amount, one.currency) for one in found if one is not None] == [
        ("capture", mine, 700, "JPY"),
        ("refund", mine, 300, "JPY"),
        ("refund", mine, -300, "JPY"),
        ("capture", None, 700, "JPY"),
    ]


def test_there_is_no_stripe_without_a_key_and_keys_come_from_files_or_the_environment(
    tmp_path: object,
) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    assert stripe_setup(StripeSettings(), {}) is None
    both = {"STRIPE_SECRET_KEY": " sk_1\n", "STRIPE_WEBHOOK_SECRETS": "whsec_a, whsec_b"}
    setup = stripe_setup(StripeSettings(), both)
    assert setup is not None
    assert (setup.secret_key, setup.webhook_secrets) == ("sk_1", ("whsec_a", "whsec_b"))
    assert setup.tls is not None
    (folder / "key").write_text("sk_2\n")
    (folder / "hooks").write_text("whsec_new\nwhsec_old\n")
    named = StripeSettings(secret_key_file=str(folder / "key"), webhook_secrets_file=str(folder / "hooks"))
    setup = stripe_setup(named, both)
    assert setup is not None
    assert (setup.secret_key, setup.webhook_secrets) == ("sk_2", ("whsec_new", "whsec_old"))
    with pytest.raises(ConfigError):
        stripe_setup(StripeSettings(secret_key_file=str(folder / "gone")), {})
    with pytest.raises(ConfigError):
        stripe_setup(StripeSettings(base_url="http://example.com"), both)


def test_a_signature_is_stripes_documented_scheme() -> None:
    """HMAC-SHA256 of `t.body` under the endpoint's secret; computed here by hand."""
    import hashlib
    import hmac

    body = b'{"id": "evt_1"}'
    expected = hmac.new(b"whsec_x", b"1700000000." + body, hashlib.sha256).hexdigest()
    assert sign("whsec_x", body, 1_700_000_000) == f"t=1700000000,v1={expected}"
    verify(f"t=1700000000,v1=00,v1={expected},v0=11", body, ("whsec_y", "whsec_x"), 1_700_000_100, 300)
