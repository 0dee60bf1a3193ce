"""Promises of the half-cycle counter."""

import math

from hypothesis import example, given
from hypothesis import strategies as st

from cabinet.guard.phase import EDGE_NS, MainsPhase

MS = 1_000_000
HALF = 10 * MS


def mains_mv(at_ns: int, half_ns: float, start_ns: int) -> int:
    return int(311_000 * math.sin(math.pi * (at_ns - start_ns) / half_ns))


@given(st.integers(0, 20 * MS), st.floats(49, 51), st.lists(st.integers(-400_000, 400_000), min_size=10, max_size=10))
def test_half_cycles_are_told_apart_at_any_phase_and_grid_frequency(start_ns, frequency_hz, jitter_ns):
    half_ns = 1e9 / (2 * frequency_hz)
    phase = MainsPhase(HALF)
    now_ns = 1_000 * MS
    for tick in range(150):
        now_ns += 3 * MS + jitter_ns[tick % len(jitter_ns)]
        phase.sample(now_ns, mains_mv(now_ns, half_ns, start_ns))
        if tick > 50:
            from_ns = now_ns - 3 * MS
            first, last = phase.half_cycles(from_ns, now_ns)
            assert first is not None
            assert last is not None
            true_first, true_last = (math.floor((t - start_ns) / half_ns) for t in (from_ns, now_ns))
            # never narrower than the truth, and at most one half-cycle wider at the edges
            assert last - first >= true_last - true_first
            inside = [abs((t - start_ns) % half_ns) for t in (from_ns, now_ns)]
            if all(2 * EDGE_NS < x < half_ns - 2 * EDGE_NS for x in inside):
                assert last - first == true_last - true_first


@given(st.integers(0, 20 * MS), st.floats(49, 51), st.integers(0, 10 * MS))
@example(0, 50.0, 10 * MS)  # every third crossing falls on a sample
@example(27 * MS // 10, 49.75, 10 * MS)
def test_crest_is_the_nearest_one_and_within_a_fifth_of_a_millisecond(start_ns, frequency_hz, later_ns):
    half_ns = 1e9 / (2 * frequency_hz)
    phase = MainsPhase(HALF)
    for tick in range(150):
        phase.sample(tick * 3 * MS, mains_mv(tick * 3 * MS, half_ns, start_ns))
    at_ns = 149 * 3 * MS + later_ns
    crest_ns = phase.crest_ns(at_ns)
    assert crest_ns is not None
    assert abs(crest_ns - at_ns) <= 0.52 * half_ns
    off = (crest_ns - start_ns - half_ns / 2) / half_ns
    assert abs(off - round(off)) * half_ns < EDGE_NS


def test_crest_is_not_told_of_mains_that_was_away():
    phase = MainsPhase(HALF)
    for tick in range(50):
        phase.sample(tick * 3 * MS, mains_mv(tick * 3 * MS, HALF, 0))
    assert phase.crest_ns(150 * MS) is not None
    assert phase.crest_ns(180 * MS) is None


def test_mains_that_is_away_has_no_half_cycles():
    phase = MainsPhase(HALF)
    for tick in range(100):
        phase.sample(tick * 3 * MS, mains_mv(tick * 3 * MS, HALF, 0))
    assert phase.half_cycles(296 * MS, 299 * MS) != (None, None)
    for tick in range(100, 200):
        phase.sample(tick * 3 * MS, 0)
    assert phase.half_cycles(596 * MS, 599 * MS) == (None, None)


def test_phase_is_unknown_before_the_first_crossing():
    assert MainsPhase(HALF).half_cycles(0, MS) == (None, None)


@given(
    st.integers(8 * MS, 1_000 * MS),
    st.integers(0, 10 * MS),
    st.lists(st.integers(250_000, 5 * MS), min_size=20, max_size=20),
    st.lists(st.integers(-2_000, 2_000), min_size=7, max_size=7),
)
def test_mains_that_comes_back_is_no_crossing(away_ns, cut_ns, gaps_ns, noise_mv):
    """Every half-cycle and crest reported after it matches the input phase.

    Samples 5 ms apart find a crossing to 0.3 ms: a sine bends.
    """
    phase = MainsPhase(HALF)
    from_ns = 1_000 * MS + cut_ns
    to_ns = from_ns + away_ns
    now_ns, turn = 0, 0
    while now_ns < to_ns + 30 * MS:
        before_ns, now_ns, turn = now_ns, now_ns + gaps_ns[turn % 20], turn + 1
        there = not from_ns <= now_ns < to_ns
        phase.sample(now_ns, mains_mv(now_ns, HALF, 0) if there else noise_mv[turn % 7])
        if now_ns > to_ns:
            crest_ns = phase.crest_ns(now_ns)
            assert crest_ns is None or abs((crest_ns - HALF // 2 + HALF // 4) % HALF - HALF // 4) < 2 * EDGE_NS
            first, last = phase.half_cycles(before_ns, now_ns)
            clear = all(2 * EDGE_NS < t % HALF < HALF - 2 * EDGE_NS for t in (before_ns, now_ns))
            if first is not None and first == last and clear:
                assert before_ns // HALF == now_ns // HALF
