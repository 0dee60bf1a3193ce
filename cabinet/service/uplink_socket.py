"""The service's end of `uplink.sock`: state and facts for the uplink to send, and signed messages that it received.

Only the uplink's user is answered, identified by the kernel's peer credentials. It is trusted with nothing but the
transport: every message from the fleet is verified here.
"""

import asyncio
import base64
import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
from nacl.signing import SigningKey, VerifyKey

from cabinet.errors import CabinetError, LinkError, Refused, StoreError
from cabinet.link import uplink_protocol
from cabinet.link.peer_roles import uids_of
from cabinet.link.uplink_protocol import (
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
    UplinkRefusal,
    UplinkReply,
    WatchChanges,
)
from cabinet.records import FLEET
from cabinet.service import fleet_state
from cabinet.service.charges.context import ServiceContext
from cabinet.service.charges.fleet_orders import FleetOrders
from cabinet.service.charges.live import CABINET
from cabinet.service.charges.rate_limit import RateLimiter
from cabinet.service.fleet_desired import FleetDesired
from cabinet.store import audit, month_closing, outbox
from cabinet.store.outbox import OutboxPosition
from cabinet.system.socket_peer import peer_uid
from cabinet.uplink import messages, orders
from cabinet.uplink.messages import Ack, Answer, AskOrder, Desired, Look, MessageError, StartOrder, StopOrder
from cabinet.uplink.orders import UntrustedMessage

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 30.0  # a start waits for disk and guard; the fleet asks after 15 s
REPORT_EVERY_S = 600  # of refused messages of one kind, in the audit log: a broker could send them without end


class UplinkServer:
    """Uplink socket server: `serve` runs until cancelled."""

    def __init__(
        self,
        context: ServiceContext,
        fleet_orders: FleetOrders,
        desired: FleetDesired,
        key: Callable[[], Coroutine[Any, Any, SigningKey]],
    ) -> None:
        """`key` returns the key of the monthly closings."""
        self._context = context
        self._orders = fleet_orders
        self._desired = desired
        self._key = key
        self._uids = uids_of(uplink_protocol.USER)
        self._clients: set[asyncio.Task[None]] = set()
        self._state_changes = 0
        self._reports = RateLimiter(context.clock, 1, REPORT_EVERY_S)

    async def serve(self) -> None:
        """Serve the socket. If it cannot be opened, the fleet has no view of the cabinet, but charging goes on."""
        path = uplink_protocol.path_in(Path(self._context.config.paths.run))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # left by a service that was killed
            server = await asyncio.start_unix_server(self._on_client, path, limit=uplink_protocol.MAX_LINE)
            os.chmod(path, 0o660)
        except OSError as error:
            log.error("%s: %s: the fleet will not see this cabinet", path, error.strerror or error)
            return
        try:
            await asyncio.Event().wait()  # not `serve_forever`: its end would wait for the connections that watch
        finally:
            server.close()
            for client in self._clients:
                client.cancel()
            path.unlink(missing_ok=True)

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known = peer_uid(writer.get_extra_info("socket")) in self._uids
        client = asyncio.current_task()
        assert client is not None  # each connection is a task
        self._clients.add(client)
        try:
            with contextlib.suppress(OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
                if not known or len(self._clients) > uplink_protocol.MAX_CONNECTIONS:
                    writer.write(uplink_protocol.encode(UplinkRefusal("not_allowed")))
                    await writer.drain()
                    return
                await self._serve(reader, writer)
        finally:
            self._clients.discard(client)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            try:
                question = uplink_protocol.decode_question(line)
            except LinkError as error:
                log.warning("uplink.sock: %s", error)
                writer.write(uplink_protocol.encode(UplinkRefusal("bad_request")))
                await writer.drain()
                return
            if isinstance(question, WatchChanges):
                await self._watch(reader, writer)
                return
            async with asyncio.timeout(ANSWER_WITHIN_S):
                writer.write(uplink_protocol.encode(await self.answer(question)))
                await writer.drain()

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send a `Changed` now and with each change, until the client closes the connection."""
        gone = asyncio.ensure_future(reader.read(1))
        changes = self._context.changes.watch(CABINET)
        try:
            while True:
                change = asyncio.ensure_future(anext(changes, False))
                await asyncio.wait({gone, change}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done() or change.result() is False:
                    change.cancel()
                    return
                self._state_changes += 1
                position = await self._position()
                changed = Changed(
                    position.epoch,
                    self._state_changes,
                    position.facts,
                    position.acked,
                    bool(self._context.enrolment_code),
                )
                writer.write(uplink_protocol.encode(changed))
                await writer.drain()
        finally:
            gone.cancel()

    # --- questions ---------------------------------------------------------------------------------------------------

    async def answer(self, question: UplinkQuestion) -> UplinkReply:
        """Return the answer; a refusal for anything that is not possible now."""
        try:
            return await self._found(question)
        except Refused as refused:
            return UplinkRefusal(refused.code)
        except StoreError as error:
            log.warning("uplink.sock: %s", error)
            return UplinkRefusal(self._context.storage.refusal or "storage_full")
        except CabinetError as error:
            log.error("uplink.sock: %s", error)
            return UplinkRefusal("bad_request")

    async def _found(self, question: UplinkQuestion) -> UplinkReply:
        context = self._context
        if isinstance(question, TakeEnrolment):
            code, context.enrolment_code = context.enrolment_code, ""
            return Enrolment(code)
        if isinstance(question, HandOver):
            return await self._take(question)
        position = await self._position()
        if isinstance(question, AskFacts):
            facts = await context.storage.read(lambda c: outbox.after(c, question.after, question.most))
            return FactRows(position.epoch, [FactRow(fact.number, fact.body) for fact in facts])
        if isinstance(question, AskState):
            challenge, rows = self._orders.challenges.current(), self._desired.rows.values()
            body = messages.encode(fleet_state.state(context, position, challenge, rows, question.signal_dbm))
            return StateBody(msgspec.Raw(body))
        assert isinstance(question, AskOnline)
        public = month_closing.public(await self._key())
        body = messages.encode(fleet_state.online(context, position, public))
        return OnlineBody(position.epoch, context.boot_id, msgspec.Raw(body))

    async def _position(self) -> OutboxPosition:
        position = await self._context.storage.read(outbox.position)
        if position is None:
            raise Refused("uplink_off")
        return position

    # --- signed messages ---------------------------------------------------------------------------------------------

    async def _take(self, message: HandOver) -> HandedOver:
        """Verify a signed message and act on it."""
        if message.retained:
            await self._report(uplink_protocol.RETAINED, "a command that the broker had stored")
            return HandedOver(refusal=uplink_protocol.RETAINED)
        payload = uplink_protocol.payload_of(message)
        try:
            opened = self._opened(payload)
        except UntrustedMessage as error:
            await self._report(uplink_protocol.UNTRUSTED, str(error))
            return HandedOver(refusal=uplink_protocol.UNTRUSTED)
        except MessageError as error:
            log.warning("uplink: %s", error)
            return HandedOver(refusal=uplink_protocol.UNKNOWN_MESSAGE)
        return await self._act(opened, hashlib.sha256(payload[orders.HEADER_BYTES :]).hexdigest())

    def _opened(self, payload: bytes) -> messages.Down:
        keys = uplink_protocol.read_keys(uplink_protocol.keys_file(Path(self._context.config.paths.state)))
        if keys is None:
            raise UntrustedMessage("this cabinet is not enrolled")
        try:
            trusted = {key.key_id: VerifyKey(base64.b64decode(key.public, validate=True)) for key in keys.keys}
        except ValueError as error:
            raise LinkError(f"a key of the fleet is damaged: {error}") from error
        return orders.open_signed(payload, trusted, keys.cabinet)

    async def _act(self, message: messages.Down, payload_hash: str) -> HandedOver:
        if isinstance(message, StartOrder):
            answer = await self._orders.start(message, payload_hash)
            if answer is not None and answer.code == "too_many_requests":
                await self._report(
                    answer.code, f"more starts than people make, the last one at outlet {message.outlet}"
                )
            return _published(answer)
        if isinstance(message, StopOrder):
            return _published(await self._orders.stop(message))
        if isinstance(message, AskOrder):
            return _published(await self._orders.ask(message))
        if isinstance(message, Look):
            if self._is_stale(message.challenge):
                return HandedOver(refusal=uplink_protocol.STALE)
            return HandedOver(look_s=message.seconds)
        if isinstance(message, Ack):
            return await self._acknowledge(message)
        if isinstance(message, Desired):
            await self._desired.apply(message)
            return HandedOver()
        return HandedOver(refusal=uplink_protocol.UNKNOWN_MESSAGE)  # a certificate is the uplink's own

    async def _acknowledge(self, ack: Ack) -> HandedOver:
        wall = self._context.clock.wall()
        if ack.epoch != (await self._position()).epoch:
            return HandedOver(refusal="wrong_epoch")
        if ack.again:
            if self._is_stale(ack.challenge):
                return HandedOver(refusal=uplink_protocol.STALE)
            log.warning("uplink: the fleet lacks the facts after %d: they are sent again", ack.number)
            taken = await self._context.storage.write(lambda c: outbox.rewind(c, ack.number))
        else:
            taken = await self._context.storage.write(lambda c: outbox.acknowledge(c, ack.number, wall))
        if not taken:
            return HandedOver(refusal="bad_request")
        self._context.changes.touch(CABINET)
        return HandedOver()

    def _is_stale(self, challenge: str) -> bool:
        return self._orders.challenges.age_ns(challenge) is None

    async def _report(self, code: str, detail: str) -> None:
        """Log a refused message; write it to the audit log, one of its kind in `REPORT_EVERY_S`."""
        log.error("uplink: a message is refused as %s: %s", code, detail)
        with contextlib.suppress(Refused, StoreError):
            self._reports.check(code)
            self._reports.count(code)
            wall = self._context.clock.wall()
            await self._context.storage.write(
                lambda c: audit.add(c, wall, FLEET, "fleet_refused", subject=code, detail=detail)
            )


def _published(answer: Answer | None) -> HandedOver:
    return HandedOver() if answer is None else HandedOver(answer=messages.encode(answer).decode())
