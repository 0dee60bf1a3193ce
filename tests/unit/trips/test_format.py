"""A recording's file: what goes in comes out, and a damaged one says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinet.model import Fault
from cabinet.trips.folder import load, numbers, path_of
from cabinet.trips.format import (
    LARGEST,
    UNKNOWN,
    Header,
    OutletLimits,
    TripFileError,
    TripMark,
    decode,
    encode,
    row_struct,
)

LIMITS = OutletLimits(30_000, 150_000, 5_500, 1_000_000, 176_000, 264_000, 65_000, 75_000)
NUMBER = st.one_of(st.none(), st.integers(UNKNOWN + 1, LARGEST))
ROW = st.tuples(st.integers(0, 2**62), NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, st.integers(0, 7))


def header(rows: int, outlets: tuple[int, ...] = (3,)) -> Header:
    mark = TripMark(Fault.SHORT_CIRCUIT, 3, 5, True, {"peak_ma": 61_000, "limit_ma": 30_000}, "s1")
    limits = dict.fromkeys(outlets, LIMITS)
    return Header([mark], 1_780_000_000_000, True, list(outlets), limits, 3_000_000, rows)


def packed(rows: list[tuple[int | None, ...]]) -> bytes:
    as_stored = [[UNKNOWN if value is None else value for value in row] for row in rows]
    return b"".join(row_struct(1).pack(*row) for row in as_stored)


@given(st.lists(ROW, max_size=30))
def test_what_was_recorded_is_read_back_and_unknown_is_never_a_number(rows):
    recording = decode(encode(header(len(rows)), packed(rows)))
    assert recording.header == header(len(rows))
    track = recording.tracks[3]
    columns = (recording.at_ns, recording.inside_mc, track.peak_ma, track.current_ma, track.voltage_mv, track.power_mw,
               track.temperature_mc, track.flags)  # fmt: skip
    assert [tuple(row) for row in zip(*columns, strict=True)] == rows


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_one_wrong_byte_anywhere_is_found(place, change):
    content = bytearray(encode(header(2), packed([(1, None, 2, 3, 4, 5, 6, 7), (2, 0, 0, 0, 0, 0, 0, 0)])))
    content[place % len(content)] ^= change
    with pytest.raises(TripFileError):
        decode(bytes(content))


@pytest.mark.parametrize("content", [b"", b"CABTRIP", b"CABTRIP\x01", b"something else entirely, and long enough"])
def test_what_is_no_recording_is_said_so(content):
    with pytest.raises(TripFileError, match="damaged"):
        decode(content)


def test_folder_numbers_what_is_there_and_names_what_is_missing(tmp_path):
    assert numbers(tmp_path / "none yet") == []
    path_of(tmp_path, 12).write_bytes(encode(header(0), b""))
    (tmp_path / "000013.trip.part").write_bytes(b"half a file")
    assert numbers(tmp_path) == [12]
    assert load(tmp_path, 12).header.marks[0].fault is Fault.SHORT_CIRCUIT
    with pytest.raises(TripFileError, match=r"there is no such recording; see: cabinet trips list"):
        load(tmp_path, 3)
