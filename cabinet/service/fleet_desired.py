"""Desired state of the cabinet as its fleet sends it, by version: tariffs, outlets out of service, blocked cards, and
address and text of its stickers.

A lower or equal version is ignored. A rejected one leaves everything as it is; the fleet sees the reason in the state
and may send it again. Each change is a row of the audit log. The cabinet's own pages keep the address of its
configuration.
"""

import asyncio
import logging
import re
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cabinet.billing import tariff_files
from cabinet.billing.posted import PostedTariff
from cabinet.config.keys import PUBLIC_URL
from cabinet.errors import ConfigErrors, os_error_at
from cabinet.records import FLEET
from cabinet.service.charges.context import ServiceContext
from cabinet.service.charges.live import CABINET
from cabinet.store import audit, fleet_orders, residents
from cabinet.store.fleet_orders import DesiredRow
from cabinet.uplink.messages import Desired

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_REASON = 160  # characters
MAX_NOTE = 80
MAX_ADDRESS = 100  # a longer one makes the printed code too fine
MAX_STICKER_TEXT = 60
SOURCE = "tariff"  # in place of a file's name in messages


class _TariffText(msgspec.Struct, frozen=True):
    file: str


class _BlockedCards(msgspec.Struct, frozen=True):
    """`wanted`: as sent; `here`: those that were not blocked before, and are unblocked when they are not wanted."""

    wanted: list[str] = []
    here: list[str] = []


class _Rejected(Exception):
    pass


class FleetDesired:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._turn = asyncio.Lock()
        self.rows: dict[str, DesiredRow] = {}

    def load(self, rows: dict[str, DesiredRow]) -> None:
        """Take over what is in force, as the service starts."""
        self.rows = rows
        if (row := rows.get("out_of_service")) is not None and row.version:
            self._context.fleet_notes = _outlet_notes(row.value)

    async def apply(self, desired: Desired) -> None:
        """Bring `desired` into force, or note why not. Raises CabinetError if the disk takes nothing."""
        async with self._turn:
            row = self.rows.get(desired.what)
            if row is not None and desired.version <= row.version:
                return
            try:
                await self._apply(desired, row)
            except _Rejected as rejected:
                await self._reject(desired, row, str(rejected)[:MAX_REASON])
            self._context.changes.touch(CABINET)

    async def _apply(self, desired: Desired, row: DesiredRow | None) -> None:
        value = bytes(desired.value)
        if desired.what == "tariffs":
            texts = [each.file for each in _decoded(value, list[_TariffText])]
            posted = await asyncio.to_thread(self._post, texts)
            self._context.tariff_catalogue.refresh()
            await self._take(desired, value.decode(), ", ".join(posted))
        elif desired.what == "out_of_service":
            notes = self._checked_notes(value)
            await self._take(desired, value.decode(), " ".join(map(str, sorted(notes))))
            self._context.fleet_notes = notes
            for outlet in self._context.config.outlet:
                self._context.changes.touch(outlet.number)
        elif desired.what == "blocked_cards":
            before = _BlockedCards() if row is None or not row.version else _decoded(row.value.encode(), _BlockedCards)
            wanted = _decoded(value, list[str])
            await self._take(desired, "", f"{len(wanted)}", lambda c: _block(c, wanted, before))
        else:
            printed = _decoded(value, str)
            if desired.what == "public_url" and (len(printed) > MAX_ADDRESS or not re.search(PUBLIC_URL, printed)):
                raise _Rejected(f"not an address such as https://charge.example, of {MAX_ADDRESS} characters at most")
            if (len(printed) > MAX_STICKER_TEXT and desired.what == "sticker_text") or not printed.isprintable():
                raise _Rejected(f"more than {MAX_STICKER_TEXT} characters, or other than text")
            await self._take(desired, printed, printed)

    def _checked_notes(self, value: bytes) -> dict[int, str]:
        try:
            notes = _outlet_notes(value.decode())
        except ValueError as error:
            raise _Rejected(f"not a note by outlet: {error}") from error
        for number, note in notes.items():
            if self._context.config.outlet_by_number(number) is None:
                raise _Rejected(f"outlet {number} is not in cabinet.toml")
            if len(note) > MAX_NOTE or not note.isprintable():
                raise _Rejected(f"the note of outlet {number} has more than {MAX_NOTE} characters, or other than text")
        return notes

    def _post(self, texts: list[str]) -> list[str]:
        """Check all texts, then write those that are not there yet; return the new versions.

        Raises CabinetError if the disk takes nothing: that is no fault of the tariffs, and the fleet sends them again.
        """
        config = self._context.config
        others, _ = tariff_files.load_all(config)
        new: list[tuple[PostedTariff, bytes]] = []
        for text in texts:
            content = text.replace("\r\n", "\n").encode()
            try:
                posted = tariff_files.load_text(content.decode(), SOURCE)
                if _is_posted(tariff_files.path_of(config, posted.tariff.version), content):
                    continue
                tariff_files.check_beside(config, posted, others)
            except ConfigErrors as errors:
                raise _Rejected(str(errors.errors[0])) from errors
            others.append(posted)
            new.append((posted, content))
        for posted, content in new:
            tariff_files.put(config, posted.tariff.version, content)
        return [posted.tariff.version for posted, _ in new]

    async def _take(
        self,
        desired: Desired,
        value: str,
        detail: str,
        work: Callable[[sqlite3.Connection], str] | None = None,
    ) -> None:
        """Write that this version is in force, with the audit entry; `work` returns the value that is stored."""
        wall = self._context.clock.wall()

        def write(connection: sqlite3.Connection) -> dict[str, DesiredRow]:
            stored = value if work is None else work(connection)
            fleet_orders.take(connection, desired.what, desired.version, stored, wall)
            subject = f"{desired.what} {desired.version}"
            audit.add(connection, wall, FLEET, "fleet_change", subject=subject, detail=detail)
            return fleet_orders.desired(connection)

        self.rows = await self._context.storage.write(write)
        log.info("fleet: %s, version %d, is in force", desired.what, desired.version)

    async def _reject(self, desired: Desired, row: DesiredRow | None, reason: str) -> None:
        if row is not None and (row.rejected_version, row.rejected) == (desired.version, reason):
            return  # sent again, and rejected as before
        wall = self._context.clock.wall()

        def write(connection: sqlite3.Connection) -> dict[str, DesiredRow]:
            fleet_orders.reject(connection, desired.what, desired.version, reason, wall)
            subject = f"{desired.what} {desired.version}"
            audit.add(connection, wall, FLEET, "fleet_refused", subject=subject, detail=reason)
            return fleet_orders.desired(connection)

        self.rows = await self._context.storage.write(write)
        log.warning("fleet: %s, version %d, is rejected: %s", desired.what, desired.version, reason)


def _is_posted(path: Path, content: bytes) -> bool:
    with os_error_at(path):
        return path.exists() and path.read_bytes() == content


def _block(connection: sqlite3.Connection, wanted: Iterable[str], before: _BlockedCards) -> str:
    """Block the wanted cards and unblock those that only an earlier version had blocked; return the value to store.

    Cards that no resident here has are left out.
    """
    here, cards = [], list(wanted)
    for card in before.here:
        if card not in cards and (resident := residents.by_card(connection, card)) is not None:
            residents.set_blocked(connection, resident.id, False)
    for card in cards:
        resident = residents.by_card(connection, card)
        if card in before.here:
            here.append(card)
        elif resident is not None and not resident.blocked:
            residents.set_blocked(connection, resident.id, True)
            here.append(card)
    return msgspec.json.encode(_BlockedCards(cards, here)).decode()


def _outlet_notes(value: str) -> dict[int, str]:
    """Raises ValueError."""
    return msgspec.json.decode(value, type=dict[int, str])


def _decoded(value: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.MsgspecError as error:
        raise _Rejected(f"not a value of this kind: {error}") from error
