"""Calls of `staff`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from everopen.api.shapes_people import (
    CodeBody,
    CodesAnswer,
    Done,
    KeyAnswer,
    KeyBody,
    KeyMadeAnswer,
    KeysAnswer,
    LogAnswer,
    LogEntryAnswer,
    MeAnswer,
    NewPasswordBody,
    OfferAnswer,
    OfferBody,
    StaffAnswer,
    StaffBody,
    StaffChangeBody,
    StaffLoginAnswer,
    StaffLoginBody,
    StaffMadeAnswer,
    StaffResetBody,
    StaffsAnswer,
)
from everopen.client.caller import Caller


class StaffCalls(Caller):
    """Calls of `staff`."""

    async def staff_login(
        self, body: StaffLoginBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> StaffLoginAnswer:
        """Log in as staff: `POST /api/staff/login`."""
        found: StaffLoginAnswer = await self.call(
            "POST", "/api/staff/login", StaffLoginAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def staff_logout(self, *, key: str | None = None, deadline_s: float | None = None) -> Done:
        """Log out as staff: `POST /api/staff/logout`."""
        found: Done = await self.call("POST", "/api/staff/logout", Done, key=key, deadline_s=deadline_s)
        return found

    async def get_staff_me(self, *, deadline_s: float | None = None) -> MeAnswer:
        """The own account and rights: `GET /api/staff/me`."""
        found: MeAnswer = await self.call("GET", "/api/staff/me", MeAnswer, deadline_s=deadline_s)
        return found

    async def change_staff_password(
        self, body: NewPasswordBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> StaffAnswer:
        """Take another password: `POST /api/staff/me/password`."""
        found: StaffAnswer = await self.call(
            "POST", "/api/staff/me/password", StaffAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def offer_second_factor(
        self, body: OfferBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> OfferAnswer:
        """Show a secret for an authenticator app: `POST /api/staff/me/second-factor`."""
        found: OfferAnswer = await self.call(
            "POST", "/api/staff/me/second-factor", OfferAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def confirm_second_factor(
        self, body: CodeBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> CodesAnswer:
        """Confirm the secret with a code; answers recovery codes: `POST /api/staff/me/second-factor/confirm`."""
        found: CodesAnswer = await self.call(
            "POST",
            "/api/staff/me/second-factor/confirm",
            CodesAnswer,
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def renew_recovery_codes(
        self, body: CodeBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> CodesAnswer:
        """Take other recovery codes: `POST /api/staff/me/recovery-codes`."""
        found: CodesAnswer = await self.call(
            "POST", "/api/staff/me/recovery-codes", CodesAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def list_staff(self, *, deadline_s: float | None = None) -> StaffsAnswer:
        """Staff accounts: `GET /api/staff`."""
        found: StaffsAnswer = await self.call("GET", "/api/staff", StaffsAnswer, deadline_s=deadline_s)
        return found

    async def add_staff(
        self, body: StaffBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> StaffMadeAnswer:
        """Make a staff account: `POST /api/staff`."""
        found: StaffMadeAnswer = await self.call(
            "POST", "/api/staff", StaffMadeAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def change_staff(
        self,
        id: str | UUID,
        body: StaffChangeBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> StaffAnswer:
        """Change or end a staff account: `PATCH /api/staff/{id}`."""
        found: StaffAnswer = await self.call(
            "PATCH",
            "/api/staff/{id}",
            StaffAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def reset_staff(
        self,
        id: str | UUID,
        body: StaffResetBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> StaffMadeAnswer:
        """Give an account another first password: `POST /api/staff/{id}/reset`."""
        found: StaffMadeAnswer = await self.call(
            "POST",
            "/api/staff/{id}/reset",
            StaffMadeAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def list_keys(self, *, deadline_s: float | None = None) -> KeysAnswer:
        """API keys, newest first: `GET /api/staff/keys`."""
        found: KeysAnswer = await self.call("GET", "/api/staff/keys", KeysAnswer, deadline_s=deadline_s)
        return found

    async def add_key(
        self, body: KeyBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> KeyMadeAnswer:
        """Make an API key: `POST /api/staff/keys`."""
        found: KeyMadeAnswer = await self.call(
            "POST", "/api/staff/keys", KeyMadeAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def revoke_key(
        self, id: str | UUID, *, key: str | None = None, deadline_s: float | None = None
    ) -> KeyAnswer:
        """End an API key: `DELETE /api/staff/keys/{id}`."""
        found: KeyAnswer = await self.call(
            "DELETE", "/api/staff/keys/{id}", KeyAnswer, places={"id": id}, key=key, deadline_s=deadline_s
        )
        return found

    async def list_audit_log(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        deadline_s: float | None = None,
    ) -> LogAnswer:
        """What staff did, newest first: `GET /api/audit-log`."""
        found: LogAnswer = await self.call(
            "GET",
            "/api/audit-log",
            LogAnswer,
            query={"limit": limit, "after": after, "actor": actor, "action": action},
            deadline_s=deadline_s,
        )
        return found

    async def each_audit_log(
        self,
        *,
        limit: int | None = None,
        actor: str | None = None,
        action: str | None = None,
        deadline_s: float | None = None,
    ) -> AsyncIterator[LogEntryAnswer]:
        """What staff did, newest first, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_audit_log(
                limit=limit, actor=actor, action=action, deadline_s=deadline_s, after=after
            )
            for entry in page.entries:
                yield entry
            if page.next is None:
                return
            after = page.next
