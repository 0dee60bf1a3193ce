"""Any tariff, any charge: against an oracle that knows fractions and no floor division."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cabinet.billing.cover import bound_fen, cover, rate_fen_per_hour
from cabinet.billing.tariff import (
    Band,
    Period,
    Slice,
    Tariff,
    add_slice,
    capped,
    no_use,
    parts_fen,
    price,
    total_fen,
)
from campaigns.prices import oracle_fen

fen = st.integers(0, 500)


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    edges = sorted(draw(st.sets(st.integers(1, 1500), max_size=4)))
    bands = tuple(Band(start, end, draw(fen)) for start, end in zip([0, *edges], [*edges, None], strict=True))
    hours = sorted(draw(st.sets(st.integers(1, 1439), max_size=4)))
    periods = tuple(Period(start, end, draw(fen)) for start, end in zip([0, *hours], [*hours, 1440], strict=True))
    minimum = draw(st.sampled_from([0, 10, 200]))
    return Tariff(
        version="any",
        bands=bands,
        periods=periods,
        start_fee_fen=draw(st.sampled_from([0, 0, 30])),
        service_fen=draw(fen),
        free_minutes=draw(st.sampled_from([0, 0, 5])),
        minimum_fen=minimum,
        cap_fen=draw(st.one_of(st.none(), st.integers(minimum, 2000))),
    )


minutes = st.integers(1440, 2 * 1440 - 1)
slices = st.lists(
    st.builds(
        Slice,
        st.integers(0, 600_000),
        st.integers(0, 300_000),
        st.one_of(st.none(), st.tuples(minutes, minutes)),
    ),
    max_size=6,
)


@given(tariffs(), slices)
@settings(max_examples=100, deadline=None)
def test_the_price_is_the_oracles_to_the_fen(tariff: Tariff, pieces: list[Slice]) -> None:
    use = no_use(tariff)
    for piece in pieces:
        use = add_slice(tariff, use, piece)
    assert total_fen(price(tariff, use)) == oracle_fen(tariff, pieces)


@given(tariffs(), slices, st.integers(0, 3000))
@settings(max_examples=100, deadline=None)
def test_nothing_is_lost_and_nothing_is_negative(tariff: Tariff, pieces: list[Slice], held_fen: int) -> None:
    use = no_use(tariff)
    for piece in pieces:
        use = add_slice(tariff, use, piece)
    assert use.charging_ms == sum(piece.charging_ms for piece in pieces)
    assert use.energy_mwh == sum(piece.energy_mwh for piece in pieces)
    lines = capped(price(tariff, use), held_fen)
    electricity, service = parts_fen(lines)
    assert electricity >= 0
    assert service >= 0
    assert electricity + service == total_fen(lines) <= held_fen


@given(tariffs(), slices, slices, st.integers(0, 3000), st.integers(1, 1500))
@settings(max_examples=100, deadline=None)
def test_what_is_covered_costs_no_more_than_the_budget_however_the_power_moves(
    tariff: Tariff, before: list[Slice], after: list[Slice], budget_fen: int, expected_w: int
) -> None:
    use = no_use(tariff)
    for piece in before:
        use = add_slice(tariff, use, piece)
    budget_fen = max(budget_fen, total_fen(price(tariff, use)), tariff.minimum_fen)
    covered = cover(tariff, use, budget_fen, expected_w)
    time_ms, energy_mwh = 0, 0
    for piece in after:
        if covered is not None and (
            time_ms + piece.charging_ms > 1000 * covered.charging_s
            or energy_mwh + piece.energy_mwh > covered.energy_mwh
        ):
            continue
        time_ms, energy_mwh = time_ms + piece.charging_ms, energy_mwh + piece.energy_mwh
        use = add_slice(tariff, use, piece)
    if time_ms or energy_mwh:
        assert total_fen(price(tariff, use)) <= budget_fen


@given(tariffs(), slices, st.integers(1, 2000))
@settings(max_examples=100, deadline=None)
def test_no_hour_costs_more_than_its_rate(tariff: Tariff, pieces: list[Slice], max_w: int) -> None:
    use = no_use(tariff)
    for piece in pieces:
        use = add_slice(tariff, use, piece)
    if use.charging_ms and use.energy_mwh * 3600 <= max_w * use.charging_ms:
        charging_s = -(-use.charging_ms // 1000)
        assert total_fen(price(tariff, use)) <= bound_fen(tariff, charging_s, max_w)
        assert rate_fen_per_hour(tariff, max_w) >= rate_fen_per_hour(tariff, max_w // 2)
