"""Settings of customers and staff: what a password costs, how many guesses a door takes, how long a session lives."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class PeopleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How people get in."""

    argon2_memory_kib: Annotated[
        int,
        Meta(
            ge=8192,
            le=1048576,
            description="Memory of one password digest (argon2id). With two passes the 19 MiB are what OWASP recommends; "
            "some 30 ms on one core. Digests made with other values are renewed at the next login.",
        ),
    ] = 19456
    argon2_passes: Annotated[int, Meta(ge=1, le=20, description="Passes of one password digest.")] = 2
    password_threads: Annotated[
        int,
        Meta(ge=1, le=16, description="Password digests that a worker computes at once, beside its orders."),
    ] = 1
    password_queue_max: Annotated[
        int,
        Meta(ge=1, description="Password digests that wait in a worker; one more is answered 'unavailable'."),
    ] = 64
    customer_password_min: Annotated[
        int, Meta(ge=8, le=64, description="Fewest characters of a customer's password.")
    ] = 8
    staff_password_min: Annotated[
        int, Meta(ge=8, le=64, description="Fewest characters of a staff password.")
    ] = 12
    reset_minutes: Annotated[
        float, Meta(gt=0, description="How long the token of a password reset can be used.")
    ] = 30.0
    login_attempts: Annotated[
        int, Meta(ge=1, description="Wrong guesses at one account before each further one has to wait.")
    ] = 5
    login_attempts_per_address: Annotated[
        int,
        Meta(
            ge=0,
            description="The same per address that guesses come from (IPv6: its /64), over all accounts. 0: not counted; for "
            "shops behind a proxy that hides its clients' addresses.",
        ),
    ] = 50
    login_backoff_s: Annotated[
        float, Meta(gt=0, description="First such wait; doubles with each further wrong guess.")
    ] = 1.0
    login_backoff_max_s: Annotated[
        float,
        Meta(gt=0, description="Longest such wait. Nobody is locked out for longer, whoever guesses."),
    ] = 900.0
    login_forget_hours: Annotated[
        float, Meta(gt=0, description="Wrong guesses are forgotten when there was none for so long.")
    ] = 24.0
    staff_second_factor: Annotated[
        Literal["required", "optional"],
        Meta(
            description="required: a staff account without a second factor (TOTP) can only set one up; nothing else opens."
        ),
    ] = "required"
    staff_session_hours: Annotated[
        float, Meta(gt=0, description="A staff session ends so long after its login.")
    ] = 8.0
    staff_idle_minutes: Annotated[
        float, Meta(gt=1, description="A staff session that was not used for so long ends.")
    ] = 60.0
    access_cache_s: Annotated[
        float,
        Meta(
            ge=0,
            le=30,
            description="A worker remembers for so long what a staff token or API key may do; a revocation counts after that.",
        ),
    ] = 2.0
