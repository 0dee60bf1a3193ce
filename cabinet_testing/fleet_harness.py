"""A fleet's end of the orders: its key, and signed messages for a cabinet under test, handed to the real service."""

import base64
import itertools
from pathlib import Path
from typing import Any

import msgspec
from nacl.signing import SigningKey

from cabinet.errors import LinkError
from cabinet.link import uplink_protocol
from cabinet.link.uplink_protocol import (
    AskFacts,
    AskState,
    FactRows,
    FleetKeys,
    HandedOver,
    StateBody,
    TrustedKey,
    UplinkRefusal,
)
from cabinet.service.app import Service
from cabinet.uplink import messages, orders
from cabinet.uplink.messages import Ack, Answer, AskOrder, Down, FactBody, StartOrder, StateReport, StopOrder
from cabinet_testing.service_harness import ServiceHarness

CABINET = "demo-1"


class FleetHarness:
    """Signs for one cabinet; its service answers as it would over `uplink.sock`."""

    def __init__(self, harness: ServiceHarness) -> None:
        self.harness = harness
        self.key = SigningKey(bytes(range(32)))
        self._numbers = (f"F{number:07}" for number in itertools.count(1))
        harness.config = msgspec.structs.replace(
            harness.config, uplink=msgspec.structs.replace(harness.config.uplink, enabled=True)
        )
        self.trust(self.key)

    def trust(self, *keys: SigningKey) -> None:
        """Write the keys as the uplink does at the enrolment."""
        trusted = [
            TrustedKey(orders.key_id(key.verify_key), base64.b64encode(bytes(key.verify_key)).decode()) for key in keys
        ]
        path = uplink_protocol.keys_file(Path(self.harness.config.paths.state))
        uplink_protocol.write_keys(path, FleetKeys(CABINET, trusted))

    # --- messages ----------------------------------------------------------------------------------------------------

    async def state(self, service: Service) -> StateReport:
        reply = await service.uplink.answer(AskState())
        assert isinstance(reply, StateBody), reply
        return messages.decode_state(bytes(reply.body))

    async def hand_over(self, service: Service, message: Down, **changes: Any) -> HandedOver:
        """Sign and hand over; `changes` are arguments of `hand_over`."""
        reply = await service.uplink.answer(uplink_protocol.hand_over(orders.sign(self.key, message), **changes))
        if isinstance(reply, UplinkRefusal):
            raise LinkError(reply.code)
        assert isinstance(reply, HandedOver)
        return reply

    async def send(self, service: Service, message: Down) -> Answer | None:
        """Sign and hand over; return the answer that the uplink would publish."""
        handed = await self.hand_over(service, message)
        assert handed.refusal is None, handed.refusal
        return messages.decode_answer(handed.answer.encode()) if handed.answer else None

    async def order(self, service: Service, outlet: int = 3, **changes: Any) -> StartOrder:
        """Return an order as the fleet makes it from the cabinet's last state."""
        state, tariff = await self.state(service), (await service.charges.price("C5T4", "")).version
        return self.order_from(state, **{"outlet": outlet, "tariff_version": tariff, **changes})

    def order_from(self, state: StateReport, **changes: Any) -> StartOrder:
        """Return an order that quotes `state`; `changes` name outlet, tariff_version, and what is different."""
        values: dict[str, Any] = {
            "cabinet": CABINET,
            "epoch": state.epoch,
            "boot": state.boot,
            "challenge": state.challenge,
            "order": next(self._numbers),
            "choice": "full",
            "held_fen": 500,
            "not_after_unix_ms": self.harness.clock.wall().unix_ms + 60_000,
        }
        return StartOrder(**{**values, **changes})

    def ask(self, order: StartOrder) -> AskOrder:
        return AskOrder(cabinet=CABINET, epoch=order.epoch, order=order.order)

    def stop(self, order: StartOrder) -> StopOrder:
        return StopOrder(cabinet=CABINET, epoch=order.epoch, order=order.order)

    def ack(self, epoch: str, number: int) -> Ack:
        return Ack(cabinet=CABINET, epoch=epoch, number=number)

    async def again(self, service: Service, number: int) -> Ack:
        """Return the wish of a restored fleet for the facts after `number`."""
        state = await self.state(service)
        return Ack(cabinet=CABINET, epoch=state.epoch, number=number, again=True, challenge=state.challenge)

    # --- facts -------------------------------------------------------------------------------------------------------

    async def facts(self, service: Service, after: int = 0) -> list[FactBody]:
        """Return the facts after a number, which must be gapless."""
        reply = await service.uplink.answer(AskFacts(after))
        assert isinstance(reply, FactRows), reply
        assert [row.number for row in reply.facts] == list(range(after + 1, after + 1 + len(reply.facts)))
        return [messages.decode_fact(row.body) for row in reply.facts]
