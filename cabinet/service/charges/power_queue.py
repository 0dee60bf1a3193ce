"""The power queue in memory; the file has the same content. Pure."""

from cabinet.store.waiting import WaitingRow


class PowerQueue:
    """The power queue: first come, first served. Failed entries are kept apart, for their residents to read."""

    def __init__(self) -> None:
        self.waiting: list[WaitingRow] = []
        self.over: list[WaitingRow] = []

    def replace(self, rows: list[WaitingRow]) -> None:
        """Take over the stored entries, in their order."""
        self.waiting = [row for row in rows if row.outcome is None]
        self.over = [row for row in rows if row.outcome is not None]

    @property
    def head(self) -> WaitingRow | None:
        return self.waiting[0] if self.waiting else None

    def at(self, outlet: int) -> WaitingRow | None:
        """Return the entry that reserves the outlet, if there is one."""
        return next((row for row in self.waiting if row.outlet == outlet), None)

    def of_resident(self, resident_id: int) -> WaitingRow | None:
        return next((row for row in (*self.waiting, *self.over) if row.resident_id == resident_id), None)

    def place(self, row: WaitingRow) -> int | None:
        """Return the place, 1 for the next; None if the entry is over."""
        return self.waiting.index(row) + 1 if row in self.waiting else None

    def others_before(self, resident_id: int | None) -> bool:
        """Return whether another resident comes first; this resident may be in the queue or about to join."""
        return self.head is not None and self.head.resident_id != resident_id
