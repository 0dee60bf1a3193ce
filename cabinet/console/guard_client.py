"""Console connection to the guard: opened when first needed, and reopened after the guard was gone."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from cabinet.console.command import GuardClient
from cabinet.errors import LinkError
from cabinet.link.guard_protocol import BusView, Command, Recent
from cabinet.maintenance import MaintenanceState
from cabinet.model import Snapshot

T = TypeVar("T")


class GuardConnection(GuardClient, Protocol):
    """One connection (`link.client.BlockingGuard`)."""

    def close(self) -> None: ...


class ReconnectingGuardClient:
    """Guard client (`command.GuardClient`) that uses one connection as long as it lasts."""

    def __init__(self, connect: Callable[[], GuardConnection]) -> None:
        self._connect = connect
        self._connection: GuardConnection | None = None

    def snapshot(self) -> Snapshot:
        return self._ask(lambda connection: connection.snapshot())

    def bus(self, scan: bool = False) -> BusView:
        return self._ask(lambda connection: connection.bus(scan))

    def recent(self) -> Recent:
        return self._ask(lambda connection: connection.recent())

    def maintenance_state(self) -> MaintenanceState:
        return self._ask(lambda connection: connection.maintenance_state())

    def request(self, make: Callable[[int], Command]) -> None:
        self._ask(lambda connection: connection.request(make))

    def _ask(self, question: Callable[[GuardConnection], T]) -> T:
        """Ask; if the old connection fails, ask again over a new one: the guard may have restarted since.

        Every command may be repeated (see `link.guard_protocol`), so it does no harm if the guard executed the command
        and only its answer was lost.
        """
        if self._connection is not None:
            try:
                return question(self._connection)
            except LinkError:
                self._drop()
        self._connection = self._connect()
        try:
            return question(self._connection)
        except LinkError:
            self._drop()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
