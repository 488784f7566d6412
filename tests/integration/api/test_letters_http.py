"""The way of a forgotten password: from the wish through the mailer's webhook to the login, over HTTP."""

from __future__ import annotations

import uuid

from tests.integration.api.conftest import wait_for
from tests.integration.api.test_events_http import subscribe, worker_of
from tests.support.postgres import Database
from tests.support.receiver import Receiver, verify


def test_the_token_of_a_reset_reaches_the_mailer_and_nobody_else(api_database: Database) -> None:
    mail = f"ann-{uuid.uuid4().hex[:12]}@example.org"
    with worker_of(api_database) as shop, Receiver() as mailer, Receiver() as everything:
        secret = subscribe(shop, mailer.url, "customer.password_reset", "customer.registered")["secret"]
        subscribe(shop, everything.url)
        client = shop.client
        made = client.post("/api/customers", json={"email": mail, "password": "correct horse battery"}).json()
        assert client.post("/api/password-resets", json={"email": mail}).status_code == 202
        wanted = ["customer.registered", "customer.password_reset"]
        wait_for(lambda: mailer.topics(made["id"]), lambda topics: topics == wanted)
        for headers, content in mailer.requests:
            verify(secret, headers, content)
        letter = next(event["data"] for event in mailer.got if event["topic"] == wanted[1])
        assert letter["email"] == mail
        body = {"token": letter["token"], "password": "staple of another kind"}
        assert client.post("/api/password-resets/confirm", json=body).status_code == 200
        assert (
            client.post("/api/login", json={"email": mail, "password": body["password"]}).status_code == 200
        )
        told = wait_for(
            lambda: everything.topics(made["id"]), lambda topics: "customer.password_changed" in topics
        )
        assert told == ["customer.registered", "customer.password_changed"]  # and not the one with the token
