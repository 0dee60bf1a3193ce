"""The file of one recording: every outlet at scan rate from 2 s before a trip to 1 s after it. Pure.

    bytes 0-6  "CABTRIP"
    byte 7     version of the format, 1
    then       zlib stream: length of the header (4 bytes, little-endian), header (JSON, `Header`), rows
    last 4     CRC-32 of everything before, little-endian

A row is a time and one group of numbers an outlet (`row_struct`). Rows are stored byte plane by byte plane, which
reduces the zlib output to a third: 13 kB for ten outlets.
"""

import struct
import zlib

import msgspec

from cabinet.errors import CabinetError
from cabinet.model import Fault

MAGIC = b"CABTRIP"
VERSION = 1
UNKNOWN = -(2**31)  # in place of a number that was not measured: never 0
LARGEST = 2**31 - 1

# bits of an outlet's flags
CLOSED, SESSION, FAULT_PRESENT = 1, 2, 4

VALUES_BEFORE_OUTLETS = 2  # time, temperature of the air inside
VALUES_PER_OUTLET = 6

_LEVEL = 6  # zlib: 9 takes twice as long for 3 % less
_LENGTH = struct.Struct("<I")


class TripFileError(CabinetError):
    """A recording is missing, damaged, or of a version that this program cannot read."""


class OutletLimits(msgspec.Struct, frozen=True):
    """Limits of an outlet's protections at the time of the recording."""

    short_peak_ma: int
    hard_peak_ma: int
    rated_ma: int
    max_power_mw: int
    lowest_mv: int
    highest_mv: int
    warn_mc: int
    trip_mc: int


class TripMark(msgspec.Struct, frozen=True):
    """One trip within a recording. `outlet` None: the cabinet as a whole; `at_ns` of the guard's monotonic clock."""

    fault: Fault
    outlet: int | None
    at_ns: int
    latched: bool
    why: dict[str, int]
    session_id: str | None = None


class Header(msgspec.Struct, frozen=True):
    """Header of a recording. `marks` is never empty; `unix_ms` and `clock_trusted` belong to the first."""

    marks: list[TripMark]
    unix_ms: int
    clock_trusted: bool
    outlets: list[int]
    limits: dict[int, OutletLimits]
    period_ns: int  # of the scan, as configured
    rows: int
    unrecorded: int = 0  # trips since the previous recording of which no recording was kept


class Track(msgspec.Struct, frozen=True):
    """Readings of one outlet, one entry a row. None: not known then.

    `peak_ma` is the largest instantaneous current since the row before; the others are the newest at that time.
    """

    peak_ma: list[int | None]
    current_ma: list[int | None]
    voltage_mv: list[int | None]
    power_mw: list[int | None]
    temperature_mc: list[int | None]
    flags: list[int]


class Recording(msgspec.Struct, frozen=True):
    """A decoded file."""

    header: Header
    at_ns: list[int]
    inside_mc: list[int | None]
    tracks: dict[int, Track]


def row_struct(outlets: int) -> struct.Struct:
    """Return the layout of a row.

    It holds at_ns, inside_mc, then per outlet peak_ma, current_ma, voltage_mv, power_mw, temperature_mc, flags.
    """
    return struct.Struct("<qi" + "iiiiiB" * outlets)


def encode(header: Header, rows: bytes) -> bytes:
    """Return the file's content. `rows` are `header.rows` packed rows, oldest first."""
    size = row_struct(len(header.outlets)).size
    if not header.marks or len(rows) != header.rows * size:
        raise ValueError(f"{len(rows)} bytes are not {header.rows} rows of {size}, or there is no mark")
    described = msgspec.json.encode(header)
    planes = b"".join([rows[byte::size] for byte in range(size)])
    body = bytes((*MAGIC, VERSION)) + zlib.compress(_LENGTH.pack(len(described)) + described + planes, _LEVEL)
    return body + _LENGTH.pack(zlib.crc32(body))


def decode(content: bytes) -> Recording:
    """Decode a file's content. Raises TripFileError with the reason."""
    header, rows = _opened(content)
    width = VALUES_BEFORE_OUTLETS + VALUES_PER_OUTLET * len(header.outlets)
    columns = list(zip(*row_struct(len(header.outlets)).iter_unpack(rows), strict=True)) or [()] * width
    at_ns, inside_mc, *measured = columns
    tracks = {}
    for index, outlet in enumerate(header.outlets):
        *numbers, flags = measured[VALUES_PER_OUTLET * index : VALUES_PER_OUTLET * (index + 1)]
        peak_ma, current_ma, voltage_mv, power_mw, temperature_mc = map(_known, numbers)
        tracks[outlet] = Track(peak_ma, current_ma, voltage_mv, power_mw, temperature_mc, list(flags))
    return Recording(header, list(at_ns), _known(inside_mc), tracks)


def _opened(content: bytes) -> tuple[Header, bytes]:
    """Return the header and the packed rows."""
    start = len(MAGIC) + 1
    if not content.startswith(MAGIC) or len(content) < start + _LENGTH.size:
        raise TripFileError("damaged: not a recording of a trip")
    body, checksum = content[: -_LENGTH.size], content[-_LENGTH.size :]
    if _LENGTH.pack(zlib.crc32(body)) != checksum:
        raise TripFileError("damaged: its checksum is wrong")
    if body[start - 1] != VERSION:
        raise TripFileError(f"written in format {body[start - 1]}, this program reads {VERSION}: use a newer one")
    try:
        inside = zlib.decompress(body[start:])
        (length,) = _LENGTH.unpack_from(inside)
        header = msgspec.json.decode(inside[_LENGTH.size : _LENGTH.size + length], type=Header)
    except (zlib.error, struct.error, msgspec.DecodeError) as error:
        raise TripFileError(f"damaged: {error}") from error
    planes = inside[_LENGTH.size + length :]
    size = row_struct(len(header.outlets)).size
    if not header.marks or len(planes) != header.rows * size:
        raise TripFileError("damaged: rows are missing")
    rows = bytearray(len(planes))
    for byte in range(size):
        rows[byte::size] = planes[byte * header.rows : (byte + 1) * header.rows]
    return header, bytes(rows)


def _known(numbers: tuple[int, ...]) -> list[int | None]:
    return [None if number == UNKNOWN else number for number in numbers]
