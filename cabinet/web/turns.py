"""Turns of requests that share one event loop: each source has a limited number at once."""

import asyncio

MAX_TURN_S = 1.0
"""A longer turn does not block the event loop: it waits for a disk, a thread (a spreadsheet) or its client."""


class Turns:
    """Turns of one source; the initial `free` is their number at once."""

    def __init__(self, free: int) -> None:
        self.free = asyncio.Semaphore(free)
        self.users = 0  # requests that wait for a turn, hold one, or have held one in this pass of the event loop


class Turn:
    """Turn of one request; it begins once and ends once."""

    def __init__(self, all_: dict[str, Turns], source: str, at_once: int) -> None:
        self._all = all_
        self._source = source
        self._at_once = at_once
        self._turns: Turns | None = None
        self._has_one = self._ended = False
        self._too_long: asyncio.TimerHandle | None = None

    async def begin(self) -> None:
        if self._turns is not None or self._ended:
            return
        self._turns = self._all.setdefault(self._source, Turns(self._at_once))
        self._turns.users += 1
        await self._turns.free.acquire()
        self._has_one = True
        self._too_long = asyncio.get_running_loop().call_later(MAX_TURN_S, self.end)

    def end(self) -> None:
        """End the turn. The source's next turn begins after the event loop has served all other sources: most pages are
        made in one step, and without this rule a hundred pages of one source would be made one after the other."""
        if self._too_long is not None:
            self._too_long.cancel()
        if self._turns is not None and not self._ended:
            asyncio.get_running_loop().call_soon(self._give_back, self._turns)
        self._ended = True

    def _give_back(self, turns: Turns) -> None:
        if self._has_one:
            turns.free.release()
        turns.users -= 1
        if not turns.users and self._all.get(self._source) is turns:
            del self._all[self._source]
