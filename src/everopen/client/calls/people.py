"""Calls of `people`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from everopen.api.shapes_people import (
    AddressAnswer,
    AddressBody,
    AddressesAnswer,
    AskResetBody,
    Done,
    LoginBody,
    NewPasswordBody,
    OwnOrderAnswer,
    OwnOrdersAnswer,
    ProfileAnswer,
    ProfileBody,
    ProfilesAnswer,
    RegisterBody,
    ResetBody,
)
from everopen.client.caller import Caller


class PeopleCalls(Caller):
    """Calls of `people`."""

    async def register(
        self, body: RegisterBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> ProfileAnswer:
        """Make a customer account: `POST /api/customers`."""
        found: ProfileAnswer = await self.call(
            "POST", "/api/customers", ProfileAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def list_customers(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        email: str | None = None,
        deadline_s: float | None = None,
    ) -> ProfilesAnswer:
        """Customers, newest first: `GET /api/customers`."""
        found: ProfilesAnswer = await self.call(
            "GET",
            "/api/customers",
            ProfilesAnswer,
            query={"limit": limit, "after": after, "email": email},
            deadline_s=deadline_s,
        )
        return found

    async def each_customers(
        self, *, limit: int | None = None, email: str | None = None, deadline_s: float | None = None
    ) -> AsyncIterator[ProfileAnswer]:
        """Customers, newest first, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_customers(limit=limit, email=email, deadline_s=deadline_s, after=after)
            for entry in page.customers:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def get_customer(self, id: str | UUID, *, deadline_s: float | None = None) -> ProfileAnswer:
        """One customer: `GET /api/customers/{id}`."""
        found: ProfileAnswer = await self.call(
            "GET", "/api/customers/{id}", ProfileAnswer, places={"id": id}, deadline_s=deadline_s
        )
        return found

    async def erase_customer(
        self, id: str | UUID, *, key: str | None = None, deadline_s: float | None = None
    ) -> Done:
        """Erase a customer; orders stay in the books: `DELETE /api/customers/{id}`."""
        found: Done = await self.call(
            "DELETE", "/api/customers/{id}", Done, places={"id": id}, key=key, deadline_s=deadline_s
        )
        return found

    async def login(
        self, body: LoginBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> ProfileAnswer:
        """Log in: `POST /api/login`."""
        found: ProfileAnswer = await self.call(
            "POST", "/api/login", ProfileAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def logout(self, *, key: str | None = None, deadline_s: float | None = None) -> Done:
        """Log out: `POST /api/logout`."""
        found: Done = await self.call("POST", "/api/logout", Done, key=key, deadline_s=deadline_s)
        return found

    async def ask_password_reset(
        self, body: AskResetBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> Done:
        """Send a token for a new password: `POST /api/password-resets`."""
        found: Done = await self.call(
            "POST", "/api/password-resets", Done, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def reset_password(
        self, body: ResetBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> ProfileAnswer:
        """Set a new password with the token: `POST /api/password-resets/confirm`."""
        found: ProfileAnswer = await self.call(
            "POST", "/api/password-resets/confirm", ProfileAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def get_me(self, *, deadline_s: float | None = None) -> ProfileAnswer:
        """Who is logged in: `GET /api/me`."""
        found: ProfileAnswer = await self.call("GET", "/api/me", ProfileAnswer, deadline_s=deadline_s)
        return found

    async def change_me(
        self, body: ProfileBody | None = None, *, key: str | None = None, deadline_s: float | None = None
    ) -> ProfileAnswer:
        """Change name and e-mail address: `PATCH /api/me`."""
        found: ProfileAnswer = await self.call(
            "PATCH", "/api/me", ProfileAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def change_password(
        self, body: NewPasswordBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> ProfileAnswer:
        """Take another password: `POST /api/me/password`."""
        found: ProfileAnswer = await self.call(
            "POST", "/api/me/password", ProfileAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def list_own_orders(
        self, *, limit: int | None = None, after: str | None = None, deadline_s: float | None = None
    ) -> OwnOrdersAnswer:
        """Own orders, newest first: `GET /api/me/orders`."""
        found: OwnOrdersAnswer = await self.call(
            "GET",
            "/api/me/orders",
            OwnOrdersAnswer,
            query={"limit": limit, "after": after},
            deadline_s=deadline_s,
        )
        return found

    async def each_own_orders(
        self, *, limit: int | None = None, deadline_s: float | None = None
    ) -> AsyncIterator[OwnOrderAnswer]:
        """Own orders, newest first, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_own_orders(limit=limit, deadline_s=deadline_s, after=after)
            for entry in page.orders:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def list_addresses(self, *, deadline_s: float | None = None) -> AddressesAnswer:
        """Own addresses: `GET /api/me/addresses`."""
        found: AddressesAnswer = await self.call(
            "GET", "/api/me/addresses", AddressesAnswer, deadline_s=deadline_s
        )
        return found

    async def add_address(
        self, body: AddressBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> AddressAnswer:
        """Keep an address: `POST /api/me/addresses`."""
        found: AddressAnswer = await self.call(
            "POST", "/api/me/addresses", AddressAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def set_address(
        self, id: str | UUID, body: AddressBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> AddressAnswer:
        """Change an address: `PUT /api/me/addresses/{id}`."""
        found: AddressAnswer = await self.call(
            "PUT",
            "/api/me/addresses/{id}",
            AddressAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def drop_address(
        self, id: str | UUID, *, key: str | None = None, deadline_s: float | None = None
    ) -> Done:
        """Forget an address: `DELETE /api/me/addresses/{id}`."""
        found: Done = await self.call(
            "DELETE", "/api/me/addresses/{id}", Done, places={"id": id}, key=key, deadline_s=deadline_s
        )
        return found
