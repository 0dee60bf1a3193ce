"""The curve that needs no script."""

from hypothesis import given
from hypothesis import strategies as st

from cabinet.records import CurvePoint
from cabinet.web.curve import HEIGHT, MAX_POINTS, WIDTH, plot_data, polyline

watts = st.integers(min_value=0, max_value=3500)


def test_one_point_is_no_line() -> None:
    assert polyline([]) is None
    assert polyline([CurvePoint(0, 100)]) is None


def test_a_line_spans_the_picture_with_a_round_scale() -> None:
    line = polyline([CurvePoint(0, 0), CurvePoint(30, 100), CurvePoint(60, 160)])
    assert line is not None
    assert (line.points, line.top_w, line.span_s) == ("0,120 160,60 320,24", 200, 60)


def test_the_script_gets_the_scales_of_the_line() -> None:
    curve = [CurvePoint(0, 0), CurvePoint(1800, 100), CurvePoint(7200, 160)]
    line = polyline(curve)
    assert line is not None
    assert plot_data(curve, 1800) == {
        "points": [CurvePoint(7200, 160)],
        "watts": [0, 50, 100, 150, line.top_w],
        "minutes": [0, 50, 100, 150],
    }
    assert plot_data([]) == {"points": [], "watts": [0, 5, 10], "minutes": [0, 1]}


def test_a_peak_survives_thinning() -> None:
    curve = [CurvePoint(second, 500 if second == 4321 else 10) for second in range(10_000)]
    line = polyline(curve)
    assert line is not None
    heights = [int(point.split(",")[1]) for point in line.points.split()]
    assert min(heights) == HEIGHT - 500 * HEIGHT // line.top_w
    assert len(heights) <= MAX_POINTS


@given(st.lists(watts, min_size=2, max_size=400), st.integers(min_value=1, max_value=60))
def test_every_point_lies_in_the_picture(powers: list[int], step_s: int) -> None:
    line = polyline([CurvePoint(index * step_s, power) for index, power in enumerate(powers)])
    assert line is not None
    for point in line.points.split():
        x, y = map(int, point.split(","))
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT
