"""Notifications of a simulated platform: sent when due, again along a ladder until taken, and twice at will."""

from collections.abc import Callable
from dataclasses import dataclass

import httpx

Outgoing = tuple[dict[str, str], bytes]  # headers, body


@dataclass
class SimNotice:
    address: str
    make: Callable[[], Outgoing]
    due: float
    sent: int = 0


class Notices:
    """`ladder_s`: waits between attempts; `is_taken`: whether an answer ends them."""

    def __init__(
        self,
        clock: Callable[[], float],
        ladder_s: tuple[float, ...],
        is_taken: Callable[[httpx.Response], bool],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock, self.ladder_s, self._is_taken = clock, ladder_s, is_taken
        self._client = httpx.AsyncClient(transport=transport, timeout=5.0, trust_env=False)
        self.waiting: list[SimNotice] = []
        self.delay_s = 0.0
        self.copies = 1
        self.silent = False  # sends none
        self.answers: list[int] = []

    def add(self, address: str, make: Callable[[], Outgoing]) -> None:
        if address and not self.silent:
            self.waiting += [SimNotice(address, make, self._clock() + self.delay_s) for _ in range(self.copies)]

    async def send_due(self) -> int:
        """Send all that are due; return their number."""
        due = [notice for notice in self.waiting if notice.due <= self._clock()]
        for notice in due:
            self.waiting.remove(notice)
            headers, body = notice.make()
            try:
                answer = await self._client.post(notice.address, headers=headers, content=body)
            except httpx.HTTPError:
                taken = False
                self.answers.append(0)
            else:
                taken = self._is_taken(answer)
                self.answers.append(answer.status_code)
            if not taken and notice.sent < len(self.ladder_s):
                notice.due = self._clock() + self.ladder_s[notice.sent]
                notice.sent += 1
                self.waiting.append(notice)
        return len(due)

    async def close(self) -> None:
        await self._client.aclose()
