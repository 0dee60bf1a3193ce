"""The service as the uplink sees it, in memory: an outbox, a state with a challenge, and orders that are counted."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import msgspec
from nacl.signing import VerifyKey

from cabinet.clock import WallTime
from cabinet.errors import LinkError
from cabinet.link.uplink_protocol import (
    RETAINED,
    UNTRUSTED,
    AskFacts,
    AskOnline,
    AskState,
    Changed,
    Enrolment,
    FactRow,
    FactRows,
    HandedOver,
    HandOver,
    OnlineBody,
    StateBody,
    TakeEnrolment,
    UplinkQuestion,
    payload_of,
    read_keys,
)
from cabinet.model import Fault
from cabinet.uplink import messages, orders
from cabinet.uplink.messages import (
    Ack,
    AlarmChanged,
    Answer,
    AskOrder,
    Look,
    MessageError,
    Online,
    StartOrder,
    StateReport,
    StopOrder,
)

T = TypeVar("T")


class FakeUplinkService:
    """`UplinkServiceClient` without a service. `present` False: it does not answer."""

    def __init__(self, keys_file: Path, cabinet: str, epoch: str = "epoch-1") -> None:
        self.keys_file = keys_file
        self.cabinet = cabinet
        self.epoch = epoch
        self.boot = "boot-1"
        self.present = True
        self.facts: list[bytes] = []
        self.acked = 0
        self.state = 0
        self.challenge = 0
        self.code = ""
        self.starts: dict[str, int] = {}  # times that an order was executed
        self.refused: list[str] = []
        self.asked_facts: list[AskFacts] = []
        self._changed = asyncio.Condition()

    async def add_facts(self, count: int) -> None:
        for _ in range(count):
            fact = AlarmChanged(1, Fault.OVERCURRENT, True, WallTime(len(self.facts), True))
            self.facts.append(messages.encode_fact(fact))
        await self.change()

    async def change(self, state: bool = False) -> None:
        self.state += state
        async with self._changed:
            self._changed.notify_all()

    async def changes(self) -> AsyncIterator[Changed]:
        while True:
            self._check_present()
            yield Changed(self.epoch, self.state, len(self.facts), self.acked, bool(self.code))
            async with self._changed:
                await self._changed.wait()

    async def until(self, condition: object, within_s: float = 20) -> None:
        """Wait until `condition()` holds; it is checked at each change."""
        assert callable(condition)
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(condition)

    async def ask(self, question: UplinkQuestion, kind: type[T]) -> T:
        self._check_present()
        reply = await self._reply(question)
        assert isinstance(reply, kind)
        return reply

    def _check_present(self) -> None:
        if not self.present:
            raise LinkError("no service answers")

    async def _reply(self, question: UplinkQuestion) -> object:
        if isinstance(question, AskOnline):
            body = messages.encode(Online(True, boot=self.boot, epoch=self.epoch))
            return OnlineBody(self.epoch, self.boot, msgspec.Raw(body))
        if isinstance(question, AskState):
            self.challenge += 1
            state = StateReport(
                WallTime(0, True), self.boot, self.epoch, f"c{self.challenge}", [], facts=len(self.facts)
            )
            return StateBody(msgspec.Raw(messages.encode(state)))
        if isinstance(question, AskFacts):
            self.asked_facts.append(question)
            chosen = self.facts[question.after : question.after + question.most]
            rows = [FactRow(question.after + n, msgspec.Raw(body)) for n, body in enumerate(chosen, 1)]
            return FactRows(self.epoch, rows)
        if isinstance(question, TakeEnrolment):
            code, self.code = self.code, ""
            return Enrolment(code)
        assert isinstance(question, HandOver)
        return await self._handed_over(question)

    async def _handed_over(self, question: HandOver) -> HandedOver:
        if question.retained:
            self.refused.append(RETAINED)
            await self.change()
            return HandedOver(refusal=RETAINED)
        keys = read_keys(self.keys_file)
        assert keys is not None
        trusted = {key.key_id: VerifyKey(base64.b64decode(key.public)) for key in keys.keys}
        try:
            message = orders.open_signed(payload_of(question), trusted, self.cabinet)
        except MessageError:
            self.refused.append(UNTRUSTED)
            await self.change()
            return HandedOver(refusal=UNTRUSTED)
        if isinstance(message, Ack):
            if message.epoch == self.epoch:
                self.acked = max(self.acked, message.number)
            await self.change()
        if isinstance(message, Look):
            return HandedOver(look_s=message.seconds)
        if isinstance(message, StartOrder | StopOrder | AskOrder):
            if isinstance(message, StartOrder) and message.order not in self.starts:
                self.starts[message.order] = self.starts.get(message.order, 0) + 1
            outcome = "accepted" if message.order in self.starts else "unknown"
            await self.change(state=True)
            return HandedOver(messages.encode(Answer(message.order, outcome)).decode())  # type: ignore[arg-type]
        return HandedOver()
