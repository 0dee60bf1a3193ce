"""Journal of events in the simulated cabinet, in nanoseconds of the monotonic clock, for tests and benches."""

from collections import deque

import msgspec

MAX_RECORDS = 4000


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event. `kind` is one of `KINDS`; `seq` counts from 1 without gaps."""

    seq: int
    at_ns: int
    kind: str
    outlet: int | None = None
    detail: dict[str, int | float | str] = {}


KINDS = {
    "plugged": "a load was plugged in",
    "unplugged": "a load was pulled out",
    "fault": "a fault was set",
    "fault_onset": "its current began to flow, at that angle of the mains",
    "cleared": "faults were removed",
    "coil_on": "an outlet's coil was commanded to close (STOP of the transfer, or the line's edge)",
    "coil_off": "an outlet's coil was commanded to open",
    "contacts_closed": "an outlet's contacts met",
    "contacts_opened": "an outlet's contacts parted; an arc may go on",
    "current_zero": "the current has ended",
    "welded": "contacts stuck together while breaking too much",
    "breaker_tripped": "an outlet's breaker opened",
    "contactor_on": "the contactor's coil was commanded to close",
    "contactor_off": "the contactor's coil was commanded to open",
    "contactor_closed": "the contactor's contacts met",
    "contactor_opened": "the contactor's contacts parted",
    "heartbeat_lost": "no heartbeat edge for 100 ms: coil supply off",
    "heartbeat_back": "coil supply on",
    "alert": "an over-current line went low",
    "input_opened": "an alarm contact let go of its line, or its wire was cut",
    "input_closed": "an alarm contact holds its line low again",
    "siren_on": "the siren began to sound",
    "siren_off": "the siren fell silent",
    "mux_reset": "the muxes were reset",
    "mains_cut": "the mains went",
    "mains_back": "the mains came back",
    "unmodelled": "a driver used something no chip here does",
}


class Journal:
    """The last `MAX_RECORDS` records."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=MAX_RECORDS)
        self._seq = 0

    def add(self, at_ns: int, kind: str, outlet: int | None = None, **detail: int | float | str) -> None:
        self._seq += 1
        self._records.append(Record(self._seq, at_ns, kind, outlet, detail))

    @property
    def last_seq(self) -> int:
        return self._seq

    def after(self, seq: int, outlet: int | None = None) -> list[Record]:
        """Return the kept records after `seq`, oldest first; of one outlet if given."""
        return [record for record in self._records if record.seq > seq and outlet in (None, record.outlet)]

    def __len__(self) -> int:
        return len(self._records)
