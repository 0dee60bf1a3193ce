"""Starts, stops and questions of orders in any sequence, doubled, late and across restarts: nobody pays twice."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cabinet.clock import NS
from cabinet.link.guard_protocol import Energise
from cabinet.model import EndReason
from cabinet.service.app import Service
from cabinet.uplink.messages import Answer, OrderRefused, SessionSettled, StartOrder
from cabinet_testing.fleet_harness import FleetHarness
from cabinet_testing.service_harness import ServiceHarness

OUTLETS = (3, 3, 4)  # two orders compete for one outlet

acts = st.sampled_from(["start", "start twice", "stop", "ask", "charge", "unplug", "wait", "long wait", "restart"])
sequences = st.lists(st.tuples(acts, st.integers(0, len(OUTLETS) - 1)), min_size=3, max_size=14)


class Story:
    """One cabinet and the orders that its fleet made, each of which it may send at any time, and again."""

    def __init__(self, folder: Path) -> None:
        self.harness = ServiceHarness(folder)
        self.fleet = FleetHarness(self.harness)
        self.orders: dict[int, StartOrder] = {}
        self.answers: dict[str, list[Answer]] = {}
        self.known_dead: set[str] = set()

    async def play(self, sequence: Sequence[tuple[str, int]]) -> None:
        parts: list[list[tuple[str, int]]] = [[]]
        for act in sequence:
            parts[-1].append(act)
            if act[0] == "restart":
                parts.append([])
        for part in parts:
            async with self.harness.running() as service:
                for step, number in part:
                    await self.act(service, step, number)
                    await self.harness.settle(service)
        async with self.harness.running() as service:
            for outlet in set(OUTLETS):
                if self.harness.guard.outlets[outlet].session_id is not None:
                    self.harness.guard.end(outlet, EndReason.FULL)
            await self.harness.settle(service)
            await self.check(service)

    async def act(self, service: Service, act: str, number: int) -> None:
        if number not in self.orders:
            self.orders[number] = await self.fleet.order(service, outlet=OUTLETS[number])
        order = self.orders[number]
        if act == "start":
            self.note(await self.fleet.send(service, order))
        elif act == "start twice":
            for answer in await asyncio.gather(*(self.fleet.send(service, order) for _ in range(2))):
                self.note(answer)
        elif act == "stop":
            stopping = asyncio.create_task(self.fleet.send(service, self.fleet.stop(order)))
            while not stopping.done():
                await self.harness.guard.tell()
                await asyncio.sleep(0)
            self.note(await stopping)
        elif act == "ask":
            self.note(await self.fleet.send(service, self.fleet.ask(order)))
        elif act == "charge":
            await self.harness.charge(service, OUTLETS[number], 60)
        elif act == "unplug" and self.harness.guard.outlets[OUTLETS[number]].session_id is not None:
            self.harness.guard.end(OUTLETS[number], EndReason.UNPLUGGED)
        elif act in ("wait", "long wait"):
            self.harness.clock.advance_ns((3 if act == "wait" else 61) * NS)

    def note(self, answer: Answer | None) -> None:
        if answer is not None:
            self.answers.setdefault(answer.order, []).append(answer)

    async def check(self, service: Service) -> None:
        facts = await self.fleet.facts(service)
        settled = [fact for fact in facts if isinstance(fact, SessionSettled)]
        called_off = [fact.order for fact in facts if isinstance(fact, OrderRefused)]
        assert [fact.record for fact in settled] == self.harness.records()
        charged = [fact.order for fact in settled]
        assert len(set(charged)) == len(charged), "an order is charged once"
        assert not set(charged) & set(called_off)
        energised = {command.session_id for command in self.harness.guard.commands if isinstance(command, Energise)}
        assert len(energised) == len(charged) + len(called_off)
        for number, answers in self.answers.items():
            outcomes = [answer.outcome for answer in answers]
            sessions = {answer.session_id for answer in answers if answer.session_id is not None}
            assert len(sessions) <= 1
            if "refused" in outcomes or "unknown" in outcomes:
                assert number not in charged, f"{outcomes}: it was given up, and must not be charged"
                assert set(outcomes) <= {"refused", "unknown"}
            if "accepted" in outcomes or "ended" in outcomes:
                assert number in charged
            assert self.harness.balance_fen(f"order:{number}") == 0
        self.harness.check_books()
        spent_fen = sum(fact.record.total_fen for fact in settled)
        assert self.harness.balance_fen("cash") == -3 * 2000 - spent_fen


@settings(max_examples=60, deadline=None)
@given(sequences)
def test_no_sequence_of_orders_charges_twice_or_after_it_was_given_up(sequence: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(Story(Path(folder)).play(sequence))
