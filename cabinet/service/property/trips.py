"""Recordings of the flight recorder, read from its folder in a thread: a file takes a few milliseconds."""

import asyncio
import sqlite3
from collections import OrderedDict
from pathlib import Path

from cabinet.clock import WallTime
from cabinet.errors import Refused
from cabinet.records import Actor
from cabinet.service.charges.context import ServiceContext
from cabinet.service.property_views import TripView
from cabinet.store import sessions as table
from cabinet.trips import folder as trips_folder
from cabinet.trips.format import Recording, TripFileError

MAX_SCANNED = 400  # recordings read per query; more need another page
MAX_REMEMBERED = 1000


class Trips:
    """Implements `property_ports.TripsPort`."""

    def __init__(self, context: ServiceContext) -> None:
        self._storage = context.storage
        self._folder = Path(context.config.paths.state) / trips_folder.FOLDER
        self._known: OrderedDict[int, TripView] = OrderedDict()

    async def newest(self, actor: Actor, before: int | None, outlet: int | None, limit: int) -> list[TripView]:
        actor.require("look")
        found = await asyncio.to_thread(self._find, before, outlet, limit)
        ids = [mark.session_id for trip in found for mark in trip.marks if mark.session_id is not None]
        numbers = await self._storage.read(lambda c: _usage_numbers(c, ids))
        return [
            TripView(
                trip.number, trip.at, trip.marks,
                {mark.session_id: numbers[mark.session_id] for mark in trip.marks if mark.session_id in numbers},
            )
            for trip in found
        ]  # fmt: skip

    async def recording(self, actor: Actor, number: int) -> Recording:
        actor.require("look")
        try:
            return await asyncio.to_thread(trips_folder.load, self._folder, number)
        except TripFileError as error:
            raise Refused("unknown_trip") from error

    async def usage_number(self, session_id: str) -> int | None:
        return (await self._storage.read(lambda c: _usage_numbers(c, [session_id]))).get(session_id)

    def _find(self, before: int | None, outlet: int | None, limit: int) -> list[TripView]:
        try:
            numbers = trips_folder.numbers(self._folder)
        except OSError as error:
            raise Refused("unknown_trip") from error
        found: list[TripView] = []
        looked_at = [number for number in reversed(numbers) if before is None or number < before][:MAX_SCANNED]
        for number in looked_at:
            trip = self._trip(number)
            if outlet is None or any(mark.outlet in (outlet, None) for mark in trip.marks):
                found.append(trip)
            if len(found) >= limit:
                break
        return found

    def _trip(self, number: int) -> TripView:
        """Return a recording's view, from memory if it was read before: a recording never changes."""
        if number not in self._known:
            try:
                header = trips_folder.load(self._folder, number).header
            except TripFileError:
                return TripView(number, None, [])
            self._known[number] = TripView(number, WallTime(header.unix_ms, header.clock_trusted), header.marks)
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return self._known[number]


def _usage_numbers(connection: sqlite3.Connection, session_ids: list[str]) -> dict[str, int]:
    rows = (table.by_id(connection, session_id) for session_id in dict.fromkeys(session_ids))
    return {row.session_id: row.usage_number for row in rows if row is not None and row.usage_number is not None}
