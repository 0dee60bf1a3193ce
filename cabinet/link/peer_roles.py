"""Roles that the peer of a local socket may take, by its user as reported by the kernel.

On a cabinet each process has its own user (`systemd/cabinet.sysusers`): the service's user may be the service, the
console's the console, and every other user that the socket's mode admits may only read. Root, and the user that the
guard itself runs as, may take any role: they have full control of the guard anyway, and in a demonstration or a test
all processes have one user.
"""

import contextlib
import os
import pwd

from cabinet.link.guard_protocol import Role

ROOT = 0
USERS = {Role.SERVICE: "cabinet-service", Role.CONSOLE: "cabinet-console"}


def uids_of(user: str) -> frozenset[int]:
    """Return root, this process's own user, and `user` if this machine has it."""
    found = {ROOT, os.geteuid()}
    with contextlib.suppress(KeyError):
        found.add(pwd.getpwnam(user).pw_uid)
    return frozenset(found)


class PeerRoles:
    """Roles of each user, by user number."""

    def __init__(self, own_uid: int, role_of: dict[int, Role]) -> None:
        self._anything = frozenset({ROOT, own_uid})
        self._role_of = role_of

    @classmethod
    def of_this_machine(cls) -> "PeerRoles":
        """Return the roles of the users in `USERS` that exist on this machine."""
        role_of: dict[int, Role] = {}
        for role, name in USERS.items():
            with contextlib.suppress(KeyError):
                role_of[pwd.getpwnam(name).pw_uid] = role
        return cls(os.geteuid(), role_of)

    def roles(self, uid: int) -> frozenset[Role]:
        if uid in self._anything:
            return frozenset(Role)
        role = self._role_of.get(uid)
        return frozenset({Role.VIEWER} if role is None else {Role.VIEWER, role})
