"""The uplink: keeps one connection to the fleet, and passes messages between it and the service, until cancelled.

It owns no money and no session. If the service does not answer, the connection waits; if the connection fails, the
service goes on.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from cabinet.clock import NS, Clock
from cabinet.errors import CabinetError, LinkError
from cabinet.link import uplink_protocol
from cabinet.link.uplink_protocol import (
    AskOnline,
    Enrolment,
    HandedOver,
    LinkState,
    OnlineBody,
    TakeEnrolment,
    UplinkStatus,
)
from cabinet.uplink import enrolment, messages
from cabinet.uplink.back_off import LASTED_S, BackOff
from cabinet.uplink.connection import FleetConnection, Received
from cabinet.uplink.enrolment import EnrolmentFiles, Life, Place
from cabinet.uplink.messages import CertificateRequest
from cabinet.uplink.problems import EnrolmentError, LinkFailed
from cabinet.uplink.renewal import open_certificate, take_keys, trusted_ids
from cabinet.uplink.senders import FactSender, ServiceView, StateSender
from cabinet.uplink.service_client import UplinkServiceClient

log = logging.getLogger(__name__)

STATUS_EVERY_S = 30.0
SERVICE_RETRY_S = 2.0
ENROLMENT_EVERY_S = 5.0
HOUSEKEEPING_S = 3600.0  # known time on disk, and whether the certificate is due
MAX_SHORT_CONNECTIONS = 5  # in a row; then they count as closed by the broker on purpose
MAX_HANDED_OVER = 8  # messages at the service at once; a start waits there for the guard
ACK, CERTIFICATE, DESIRED, KEYS = "ack", "certificate", "desired", "keys"  # topics below down/

Connect = Callable[..., Awaitable[FleetConnection]]


class UplinkSettings(msgspec.Struct, frozen=True):
    """`fleet_url` and `fleet_ca` are for enrolments with a code from the console; empty: none is possible."""

    state: Path
    run: Path
    site_id: str
    fleet_url: str = ""
    fleet_ca: str = ""


class Uplink:
    """The process's work; `run` never returns."""

    def __init__(
        self,
        settings: UplinkSettings,
        service: UplinkServiceClient,
        clock: Clock,
        *,
        connect: Connect = FleetConnection.open,
        back_off: BackOff | None = None,
    ) -> None:
        self._settings = settings
        self._service = service
        self._clock = clock
        self._connect = connect
        self._back_off = back_off or BackOff(random.random)
        self._files = EnrolmentFiles(settings.state)
        self._short_connections = 0  # in a row
        self._view = ServiceView(clock)
        self._facts = FactSender(service, self._view, clock)
        self._states = StateSender(service, self._view, clock, lambda: None)
        self._places = asyncio.Semaphore(MAX_HANDED_OVER)
        self._enrolled = asyncio.Event()  # set while a new enrolment waits to be used
        self._version = self._files.version()
        self._online = b""
        self._status = UplinkStatus(clock.monotonic_ns(), STATUS_EVERY_S, "connecting", clock.monotonic_ns())

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report())
            group.create_task(self._watch_service())
            group.create_task(self._watch_enrolment())
            group.create_task(self._keep_connected())

    # --- status ---

    def _now_in(self, state: LinkState, error: str = "", place: Place | None = None, life: Life | None = None) -> None:
        before, now_ns = self._status, self._clock.monotonic_ns()
        self._status = UplinkStatus(
            now_ns,
            STATUS_EVERY_S,
            state,
            before.since_ns if before.state == state else now_ns,
            error[:200],
            before.cabinet if place is None else place.cabinet,
            before.host if place is None else place.host,
            before.certificate_until_unix_ms if life is None else life.not_after_s * 1000,
        )
        if (state, error) != (before.state, before.error):
            log.info("%s %s", state, error)
        self._write_status()

    def _write_status(self) -> None:
        status = msgspec.structs.replace(self._status, at_ns=self._clock.monotonic_ns())
        uplink_protocol.write_status(uplink_protocol.status_file(self._settings.run), status)

    async def _report(self) -> None:
        while True:
            self._write_status()
            await asyncio.sleep(STATUS_EVERY_S)

    # --- service ---

    async def _watch_service(self) -> None:
        """Follow the service's changes; take a code of the console when one waits."""
        while True:
            try:
                self._view.service_returned = True
                async for changed in self._service.changes():
                    self._view.report(changed)
                    if changed.enrol:
                        await self._enrol()
            except LinkError as error:
                log.debug("%s", error)
            await asyncio.sleep(SERVICE_RETRY_S)

    async def _enrol(self) -> None:
        code = (await self._service.ask(TakeEnrolment(), Enrolment)).code
        if not code:
            return
        before, settings = self._status.state, self._settings
        self._now_in("enrolling")
        try:
            if not settings.fleet_url:
                raise EnrolmentError("no_fleet_url")
            await asyncio.to_thread(
                enrolment.enrol,
                self._files,
                settings.fleet_url,
                code,
                settings.site_id,
                ca=Path(settings.fleet_ca) if settings.fleet_ca else None,
                trusted_time=self._clock.wall().trusted,
            )
        except CabinetError as error:
            log.warning("enrolment: %s", error)
            self._now_in(before, str(error))
            return
        self._use_new_enrolment()

    async def _watch_enrolment(self) -> None:
        """Use an enrolment that the command `cabinet uplink enrol` made."""
        while True:
            await asyncio.sleep(ENROLMENT_EVERY_S)
            if self._files.version() != self._version:
                self._use_new_enrolment()

    def _use_new_enrolment(self) -> None:
        self._version = self._files.version()
        self._back_off.reset()
        self._enrolled.set()

    # --- connection ---

    def _place(self) -> Place | None:
        try:
            return self._files.place()
        except EnrolmentError as error:
            log.error("%s", error)
            return None

    async def _keep_connected(self) -> None:
        while True:
            self._enrolled.clear()
            place = self._place()
            if place is None:
                self._now_in("not_enrolled", self._status.error)
                await self._enrolled.wait()
                continue
            began_ns, refused = self._clock.monotonic_ns(), False
            try:
                await _first_of(self._one_connection(place), self._enrolled.wait())
            except LinkError as error:
                self._now_in("connecting", f"service_gone: {error}", place)
            except (LinkFailed, EnrolmentError) as error:
                if self._status.state == "connected" and self._is_closed_again(began_ns):
                    error = LinkFailed("closed_again", str(error))
                refused = error.refused
                self._now_in("refused" if refused else "connecting", str(error), place)
            except CabinetError as error:
                self._now_in("refused", str(error), place)
            self._back_off.lasted((self._clock.monotonic_ns() - began_ns) / NS)
            if not self._enrolled.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._back_off.pause_s(refused)):
                        await self._enrolled.wait()

    def _is_closed_again(self, began_ns: int) -> bool:
        """Count short connections: Mosquitto does not say that another client took the identity over."""
        short = self._clock.monotonic_ns() - began_ns < LASTED_S * NS
        self._short_connections = self._short_connections + 1 if short else 0
        return self._short_connections >= MAX_SHORT_CONNECTIONS

    async def _one_connection(self, place: Place) -> None:
        """Connect and pass messages until the connection fails. Raises LinkFailed, LinkError, CabinetError."""
        broker = self._files.broker(place)
        life = await asyncio.to_thread(self._files.life)
        online = await self._online_body()
        if self._status.state != "refused":
            self._now_in("connecting", self._status.error, place, life)
        known_s = max(self._files.known_time_s(), life.not_before_s)
        connection = await self._connect(broker, trusted_time=self._clock.wall().trusted, not_before_unix_s=known_s)
        try:
            await self._publish_online(connection, online)
            self._now_in("connected", "", place, life)
            self._facts.begin_again()
            await _first_of(
                self._receive(connection, place),
                self._facts.run(connection),
                self._states.run(connection),
                self._publish_changed_online(connection),
                self._keep_house(connection),
            )
        finally:
            connection.close()

    async def _publish_changed_online(self, connection: FleetConnection) -> None:
        """Publish `online` again when the service was restarted with another content of it."""
        epoch = None if self._view.changed is None else self._view.changed.epoch
        while True:
            await self._view.signal.wait(None)
            changed = self._view.changed
            if self._view.service_returned or (changed is not None and changed.epoch != epoch):
                self._view.service_returned = False
                epoch = None if changed is None else changed.epoch
                online = await self._online_body()
                if online != self._online:
                    await self._publish_online(connection, online)

    async def _online_body(self) -> bytes:
        """Return the service's `online`, with the keys that this cabinet trusts. Raises LinkError."""
        body = bytes((await self._service.ask(AskOnline(), OnlineBody)).body)
        online = messages.decode_online(body)
        return messages.encode(msgspec.structs.replace(online, keys=trusted_ids(self._files.keys)))

    async def _publish_online(self, connection: FleetConnection, online: bytes) -> None:
        await connection.publish("online", online, retain=True)
        self._online = online

    async def _receive(self, connection: FleetConnection, place: Place) -> None:
        taken: set[asyncio.Task[None]] = set()
        try:
            async for received in connection.received():
                await self._places.acquire()
                task = asyncio.create_task(self._take(connection, place, received))
                taken.add(task)
                task.add_done_callback(taken.discard)
                task.add_done_callback(lambda _: self._places.release())
        finally:
            # An order that is at the service already is carried out; its answer is asked for on the next connection.
            for task in taken:
                task.cancel()

    async def _take(self, connection: FleetConnection, place: Place, received: Received) -> None:
        """Take one message from below `down/`; nothing in it may end the connection."""
        try:
            if received.name == CERTIFICATE and not received.retained:
                self._renew(place, received.payload)
            elif received.name == KEYS and not received.retained:
                await self._take_keys(connection, place, received.payload)
            else:
                await self._hand_over(connection, received)
        except (LinkFailed, LinkError) as error:
            log.warning("a message of %s was not answered: %s", received.name, error)  # the fleet asks

    async def _hand_over(self, connection: FleetConnection, received: Received) -> None:
        if received.retained:
            log.warning("refused: a stored message on down/%s", received.name)
        reply = await self._service.ask(uplink_protocol.hand_over(received.payload, received.retained), HandedOver)
        if reply.refusal is not None:
            log.warning("refused: a message on down/%s: %s", received.name, reply.refusal)
        if received.name == ACK:
            self._facts.ack_received()
        if reply.look_s is not None:
            self._view.watch(reply.look_s)
        if reply.answer:
            await connection.publish("answer", reply.answer.encode())
        if reply.answer or received.name == DESIRED:
            self._view.hurry()  # the fleet waits for the new challenge, or for the version in force

    # --- certificate and known time ---

    async def _keep_house(self, connection: FleetConnection) -> None:
        """Store the time and ask for a due certificate: only by a synchronised clock. Raises LinkFailed."""
        while True:
            wall = self._clock.wall()
            if wall.trusted:
                try:
                    self._files.store_known_time(wall.unix_ms // 1000)
                    csr = await asyncio.to_thread(self._request_if_due, wall.unix_ms // 1000)
                    if csr is not None:
                        await connection.publish("csr", messages.encode(CertificateRequest(csr)))
                except LinkFailed:
                    raise
                except (OSError, CabinetError) as error:  # such as a full disk: the connection is still good
                    log.warning("certificate and known time: %s", error)
            await asyncio.sleep(HOUSEKEEPING_S)

    def _request_if_due(self, now_s: int) -> str | None:
        """Return a request for the next certificate, with a new key, if the present one's time has come; else None."""
        return self._files.new_request() if now_s >= self._files.life().renew_from_s else None

    async def _take_keys(self, connection: FleetConnection, place: Place, payload: bytes) -> None:
        try:
            log.info("keys of the fleet: %s", " ".join(take_keys(payload, self._files.keys, place.cabinet)))
        except CabinetError as error:
            log.warning("refused: keys: %s", error)
        await self._publish_online(connection, await self._online_body())

    def _renew(self, place: Place, payload: bytes) -> None:
        try:
            self._files.renew(place, open_certificate(payload, self._files.keys, place.cabinet))
            self._now_in(self._status.state, self._status.error, place, self._files.life())
            log.info("the certificate is renewed: used from the next connection on")
        except CabinetError as error:
            log.warning("refused: a certificate: %s", error)


async def _first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Run them together; when one ends, cancel the others and return or raise as it did."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
