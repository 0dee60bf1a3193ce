"""Roles on the guard's socket: which user may be what, and how many connections each has."""

import asyncio
import contextlib
import os
import pwd
import socket
from pathlib import Path

import pytest

from cabinet.errors import LinkError
from cabinet.link.client import BlockingGuard
from cabinet.link.guard_link import GuardLink
from cabinet.link.guard_protocol import (
    Role,
)
from cabinet.link.peer_roles import USERS, PeerRoles, uids_of
from cabinet.link.server import MAX_OF_ROLE, MAX_SILENT
from cabinet.model import (
    Event,
)
from cabinet.system.socket_peer import peer_uid
from cabinet_testing.console_snapshots import snapshot
from cabinet_testing.fake_guard import FakeGuard

ROOT = Path(__file__).parents[3]


SNAPSHOT = snapshot()
WITHIN_S = 30  # only keeps a broken build from hanging
ME, OTHER = os.geteuid(), 4242  # a user that runs nothing here


@pytest.fixture
def as_user(tmp_path, monkeypatch):
    """A guard that runs as another user than this test, which has the roles given."""

    @contextlib.contextmanager
    def serve(*roles: Role):
        guard = FakeGuard.showing(SNAPSHOT)
        peer_roles = PeerRoles(OTHER, {})
        monkeypatch.setattr(peer_roles, "roles", lambda uid: frozenset(roles) if uid == ME else frozenset())
        with guard.serving(tmp_path / "guard.sock", peer_roles):
            yield guard

    return serve


@pytest.mark.parametrize("claimed", list(Role))
@pytest.mark.parametrize("own", [Role.SERVICE, Role.CONSOLE, Role.VIEWER])
def test_the_user_decides_about_the_role_and_not_what_a_client_claims(as_user, caplog, own, claimed):
    with as_user(own, Role.VIEWER) as guard:
        if claimed in (own, Role.VIEWER):
            with BlockingGuard(guard.path, claimed) as link:
                assert link.snapshot() == SNAPSHOT
        else:
            with pytest.raises(LinkError, match=rf"does not take user {ME} as {claimed.value}"):
                BlockingGuard(guard.path, claimed)
    refused = f"dropped a client of user {ME}: it may not be {claimed.value} here" in caplog.text
    assert refused == (claimed not in (own, Role.VIEWER))
    assert guard.commands == []


def test_service_that_the_guard_does_not_take_is_told_so(as_user, caplog):
    async def on_event(_: Event) -> None: ...

    async def tried(guard) -> None:
        link = GuardLink(guard.path, Role.SERVICE, lambda _: None, on_event, lambda _: None)
        running = asyncio.create_task(link.run())
        while "does not take" not in caplog.text:
            await asyncio.sleep(0)
        running.cancel()

    with as_user(Role.VIEWER) as guard:
        asyncio.run(asyncio.wait_for(tried(guard), WITHIN_S))


def test_roles_of_the_users_of_a_cabinet():
    """Root and the guard's own user may be anything; each process what it is; others look."""
    cabinet = PeerRoles(990, {991: Role.SERVICE, 992: Role.CONSOLE})
    assert cabinet.roles(0) == cabinet.roles(990) == frozenset(Role)
    assert cabinet.roles(991) == {Role.SERVICE, Role.VIEWER}
    assert cabinet.roles(992) == {Role.CONSOLE, Role.VIEWER}
    assert cabinet.roles(993) == {Role.VIEWER}


def test_users_of_the_roles_are_those_the_package_makes_and_the_units_run_as():
    made = (ROOT / "systemd/cabinet.sysusers").read_text()
    for role, name in USERS.items():
        assert f"u {name} " in made
        assert f"User={name}\n" in (ROOT / f"systemd/cabinet-{role.value}.service").read_text()


def test_user_at_the_other_end_is_told_by_the_kernel():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        assert peer_uid(ours) == ME


def connected(path: Path, count: int) -> list[socket.socket]:
    made = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(count)]
    for sock in made:
        sock.settimeout(WITHIN_S)
        sock.connect(str(path))
    return made


def test_viewers_without_number_leave_places_for_service_and_console(guard):
    with contextlib.ExitStack() as flood:
        for _ in range(MAX_OF_ROLE[Role.VIEWER]):
            flood.enter_context(BlockingGuard(guard.path, Role.VIEWER))
        for _ in range(3):
            with pytest.raises(LinkError):
                BlockingGuard(guard.path, Role.VIEWER)
        with BlockingGuard(guard.path, Role.CONSOLE) as console, BlockingGuard(guard.path, Role.SERVICE):
            assert console.snapshot() == SNAPSHOT


def test_silent_connections_without_number_keep_no_console_out(guard):
    with contextlib.ExitStack() as flood:
        for _ in range(3):
            for sock in connected(guard.path, 2 * MAX_SILENT):
                flood.callback(sock.close)
            with BlockingGuard(guard.path, Role.CONSOLE) as console:
                assert console.snapshot() == SNAPSHOT
        assert len(guard.server.descriptors) <= 2 + MAX_SILENT


def test_one_users_connections_take_no_places_of_another(as_user):
    """Its claimed role does not count: a compromised service is still the service's user."""
    with as_user(Role.SERVICE, Role.VIEWER) as guard, contextlib.ExitStack() as flood:
        links = [flood.enter_context(BlockingGuard(guard.path, Role.VIEWER)) for _ in range(MAX_OF_ROLE[Role.SERVICE])]
        with pytest.raises(LinkError):
            BlockingGuard(guard.path, Role.VIEWER)
        another_user = frozenset({Role.CONSOLE, Role.VIEWER})
        guard.server._peer_roles.roles = lambda uid: another_user  # as the next to come
        for _ in range(2):
            flood.enter_context(BlockingGuard(guard.path, Role.CONSOLE))
        assert [link.snapshot() for link in links] == [SNAPSHOT] * len(links)


def test_client_that_is_dropped_again_and_again_is_a_line_in_the_log_a_second(as_user, caplog):
    with as_user(Role.VIEWER) as guard:
        for _ in range(5):
            with pytest.raises(LinkError):
                BlockingGuard(guard.path, Role.CONSOLE)
    assert caplog.text.count("dropped a client") == 1


def test_a_user_that_this_machine_does_not_have_gets_nothing() -> None:
    assert uids_of("no-such-user") == {0, os.geteuid()}
    assert uids_of("daemon") == {0, os.geteuid(), pwd.getpwnam("daemon").pw_uid}
