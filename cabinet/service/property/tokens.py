"""Tokens of programs that read the API: made, listed and revoked by an operator."""

import secrets
import sqlite3

from cabinet import normal_form
from cabinet.clock import WallTime
from cabinet.errors import Refused
from cabinet.records import Actor
from cabinet.service.accounts import admin
from cabinet.service.charges.context import ServiceContext
from cabinet.service.ports import SCOPES
from cabinet.service.property.acting import AuditedActions, Note
from cabinet.service.property_views import TokenView
from cabinet.store import tokens

DAY_MS = 86_400_000


class Tokens:
    """Implements `property_ports.TokensPort`."""

    def __init__(self, context: ServiceContext, audited: AuditedActions) -> None:
        self._context = context
        self._audited = audited

    async def all(self, actor: Actor) -> list[TokenView]:
        actor.require("tokens")
        now = self._context.clock.wall()
        rows = await self._context.storage.read(tokens.api_tokens)
        return [
            TokenView(
                row.name,
                row.scopes,
                WallTime(row.expires_unix_ms, True),
                max(0, -((now.unix_ms - row.expires_unix_ms) // DAY_MS)),
            )
            for row in rows
        ]

    async def add(self, actor: Actor, name: str, scopes: tuple[str, ...], days: int) -> str:
        name = normal_form.text(name)
        if not admin.is_name(name):
            raise Refused("bad_name")
        if not scopes or not set(scopes) <= set(SCOPES):
            raise Refused("bad_request")
        if not 1 <= days <= admin.MAX_TOKEN_DAYS:
            raise Refused("bad_days")
        token = secrets.token_urlsafe(32)
        now_ms = self._context.clock.wall().unix_ms

        def work(connection: sqlite3.Connection) -> tuple[None, Note]:
            if tokens.token_by_name(connection, name) is not None:
                raise Refused("name_taken")
            tokens.add_token(connection, name, scopes, token, now_ms, now_ms + days * DAY_MS)
            return None, Note("token_add", subject=name, detail=f"{' '.join(scopes)} {days}")

        await self._audited.do(actor, "tokens", work)
        return token

    async def revoke(self, actor: Actor, name: str) -> None:
        def work(connection: sqlite3.Connection) -> tuple[None, Note | None]:
            found = tokens.token_by_name(connection, name)
            removed = found is not None and tokens.remove_token(connection, found.name)
            return None, Note("token_revoke", subject=name) if removed else None

        await self._audited.do(actor, "tokens", work)
