"""Answers of the service to the console, and the console's audit log in the store, each row once."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cabinet.clock import WallTime
from cabinet.console.service_client import ServiceSocketClient
from cabinet.errors import Refused
from cabinet.link import service_protocol
from cabinet.link.guard_protocol import Role
from cabinet.link.peer_roles import PeerRoles
from cabinet.link.service_protocol import (
    AskAudit,
    AskEnergy,
    AskSessions,
    AskUsage,
    AuditAnswer,
    ConsoleAuditEntry,
    Energy,
    Sessions,
    StoreAudit,
    Stored,
    Usage,
)
from cabinet.model import EndReason
from cabinet.service.app import Service
from cabinet.service.console_socket import ConsoleServer
from cabinet_testing.service_harness import FULL, NOON_MS, ServiceHarness

TYPED = ConsoleAuditEntry("journal-1", 1, WallTime(NOON_MS, True), "tech", "service", "off 3", "ok")
REFUSED = ConsoleAuditEntry("journal-1", 2, WallTime(NOON_MS, False), "guest", "look", "clear 3", "not_for_you")


@contextlib.asynccontextmanager
async def sim(harness: ServiceHarness, service: Service) -> AsyncIterator[ServiceSocketClient]:
    path = service_protocol.path_in(Path(harness.config.paths.run))
    serving = asyncio.create_task(ConsoleServer(service.context).serve())
    while not path.exists():
        await asyncio.sleep(0)
    try:
        yield ServiceSocketClient(path, timeout_s=20)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def ask(line: ServiceSocketClient, asked, kind):
    return asyncio.to_thread(line.ask, asked, kind)


async def test_sessions_usage_and_energy_of_one_charge(harness: ServiceHarness) -> None:
    async with harness.running() as service, sim(harness, service) as line:
        view = await service.charges.start(1, "C5T4", FULL, "key-1")
        await harness.charge(service, 3, 3600)
        seen = await ask(line, AskSessions(), Sessions)
        assert [(s.order_number, s.outlet, s.state) for s in seen.running] == [(view.order_number, 3, "charging")]
        assert seen.over == []
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        seen = await ask(line, AskSessions(), Sessions)
        assert seen.running == []
        assert [(s.outlet, s.end_reason, s.cost_fen) for s in seen.over] == [(3, EndReason.FULL, 32)]
        usage = await ask(line, AskUsage(most=5), Usage)
        assert [(u.number, u.card, u.total_fen, u.energy_mwh) for u in usage.lines] == [(1, "****0001", 32, 149_997)]
        energy = await ask(line, AskEnergy(), Energy)
        assert [(day.day, day.energy_mwh[3]) for day in energy.days] == [("2026-05-29", 149_997)]


async def test_row_sent_twice_and_by_another_service_is_in_the_audit_log_once(harness: ServiceHarness) -> None:
    for entries in ([TYPED], [TYPED, REFUSED]):
        async with harness.running() as service, sim(harness, service) as line:
            assert await ask(line, StoreAudit(entries), Stored) == Stored()
            assert await ask(line, StoreAudit(entries), Stored) == Stored()
            audit = await ask(line, AskAudit(), AuditAnswer)
    assert [(a.number, a.who, a.role, a.subject, a.detail, a.address) for a in audit.lines] == [
        (1, "tech", "service", "off 3", "ok", "console"),
        (2, "guest", "look", "clear 3", "not_for_you", "console"),
    ]
    assert [a.at for a in audit.lines] == [TYPED.at, REFUSED.at], "as it was when it was typed"


def test_no_service_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="service_gone"):
        ServiceSocketClient(tmp_path / "service.sock", timeout_s=1).ask(AskSessions(), Sessions)


@pytest.mark.parametrize("roles", [{Role.VIEWER}, {Role.VIEWER, Role.SERVICE}])
async def test_other_users_than_the_consoles_see_nothing_and_add_nothing_to_the_audit_log(
    harness: ServiceHarness, roles
) -> None:
    async with harness.running() as service, sim(harness, service) as line:
        with pytest.MonkeyPatch.context() as other:
            other.setattr(PeerRoles, "roles", lambda *_: frozenset(roles))
            for asked, kind in ((AskSessions(), Sessions), (StoreAudit([TYPED]), Stored)):
                with pytest.raises(Refused, match="not_allowed"):
                    await ask(line, asked, kind)
        assert (await ask(line, AskAudit(), AuditAnswer)).lines == []


@pytest.mark.parametrize(
    "sent", [b"\n", b"{}\n", b"\xff\xfe\n", b'{"type":"sessions","most":0}\n', b"[[[[\n", b"no end"]
)
async def test_line_that_is_no_question_harms_nobody(harness: ServiceHarness, sent: bytes) -> None:
    async with harness.running() as service, sim(harness, service) as line:

        def talk() -> bytes:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(20)
                sock.connect(str(service_protocol.path_in(Path(harness.config.paths.run))))
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)
                return sock.recv(4096)

        answer = await asyncio.to_thread(talk)
        assert answer == b'{"type":"unable","code":"bad_request"}\n'
        assert (await ask(line, AskSessions(), Sessions)).running == []
