"""Settings of the payment providers. Keys and secrets are none of them: they come from files or the environment."""

from __future__ import annotations

from typing import Annotated

import msgspec


class SandboxSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sandbox payment provider."""

    slow_s: Annotated[
        float, msgspec.Meta(ge=0, description="How long `tok_slow` takes to answer, and late events to come.")
    ] = 3.0
    grace_s: Annotated[
        float, msgspec.Meta(ge=0, description="How long requests may take to end at SIGTERM.")
    ] = 5.0
    webhook_url: Annotated[
        str,
        msgspec.Meta(
            description="Where the sandbox sends webhooks (http://… or unix:SOCKET). Empty: to the shop itself."
        ),
    ] = ""


class StripeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The provider `stripe`; there once a secret key is (STRIPE_SECRET_KEY, or the file below)."""

    secret_key_file: Annotated[
        str, msgspec.Meta(description="File with the secret key (sk_… or rk_…); read at the worker's start.")
    ] = ""
    webhook_secrets_file: Annotated[
        str,
        msgspec.Meta(
            description="File with the endpoint's signing secrets (whsec_…), one per line; also STRIPE_WEBHOOK_SECRETS."
        ),
    ] = ""
    base_url: Annotated[str, msgspec.Meta(pattern="^https?://[^/]+$", description="Where the API is.")] = (
        "https://api.stripe.com"
    )
    api_version: Annotated[
        str, msgspec.Meta(description="Version of the API to ask for; empty: the account's.")
    ] = ""
    tolerance_s: Annotated[
        float, msgspec.Meta(gt=0, description="Webhooks that were signed longer ago are refused.")
    ] = 300.0
