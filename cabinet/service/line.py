"""Who waits for power, as the service has it in memory; the file says the same. Pure."""

from cabinet.store.waiting import WaitingRow


class Line:
    """First come, first served. Entries that came to nothing are kept apart, for their residents to read."""

    def __init__(self) -> None:
        self.waiting: list[WaitingRow] = []
        self.over: list[WaitingRow] = []

    def show(self, rows: list[WaitingRow]) -> None:
        """Take over what the file says, in its order."""
        self.waiting = [row for row in rows if row.outcome is None]
        self.over = [row for row in rows if row.outcome is not None]

    @property
    def head(self) -> WaitingRow | None:
        return self.waiting[0] if self.waiting else None

    def at(self, outlet: int) -> WaitingRow | None:
        """Whom the outlet is reserved for."""
        return next((row for row in self.waiting if row.outlet == outlet), None)

    def of_resident(self, resident_id: int) -> WaitingRow | None:
        return next((row for row in (*self.waiting, *self.over) if row.resident_id == resident_id), None)

    def place(self, row: WaitingRow) -> int | None:
        """1 is the next; None for an entry that is over."""
        return self.waiting.index(row) + 1 if row in self.waiting else None

    def others_before(self, resident_id: int) -> bool:
        """Whether somebody else is to be served before this resident, who may be in the line or only coming."""
        return self.head is not None and self.head.resident_id != resident_id
