"""The console's connection to the guard: made when first needed, and made again after the guard has been away."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from cabinet.errors import LinkError
from cabinet.link.protocol import BusView, Command, Recent
from cabinet.model import Snapshot
from cabinet.upkeep import Upkeep

T = TypeVar("T")


class Connection(Protocol):
    """One connection (`link.client.BlockingGuard`)."""

    def snapshot(self) -> Snapshot: ...
    def bus(self, scan: bool = False) -> BusView: ...
    def recent(self) -> Recent: ...
    def upkeep(self) -> Upkeep: ...
    def request(self, make: Callable[[int], Command]) -> None: ...
    def close(self) -> None: ...


class GuardLine:
    """Asks over one connection for as long as it lasts."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def snapshot(self) -> Snapshot:
        """Raises LinkError when there is no guard."""
        return self._ask(lambda connection: connection.snapshot())

    def bus(self, scan: bool = False) -> BusView:
        """Raises LinkError when there is no guard."""
        return self._ask(lambda connection: connection.bus(scan))

    def recent(self) -> Recent:
        """Raises LinkError when there is no guard."""
        return self._ask(lambda connection: connection.recent())

    def upkeep(self) -> Upkeep:
        """Raises LinkError when there is no guard."""
        return self._ask(lambda connection: connection.upkeep())

    def request(self, make: Callable[[int], Command]) -> None:
        """Raises Refused with the guard's code, LinkError when there is no guard."""
        self._ask(lambda connection: connection.request(make))

    def _ask(self, question: Callable[[Connection], T]) -> T:
        """Once more over a fresh connection where the old one broke: the guard may have been restarted since.

        Every command may be repeated (see `link.protocol`), so one that was done before the answer got lost is no harm.
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
