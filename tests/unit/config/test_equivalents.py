"""Two limits of one thing agree, and `cabinet check` says what each means in the other's unit."""

import msgspec
import pytest

from cabinet.config import parse
from cabinet.config.equivalents import equivalents
from cabinet.config.reference import example
from cabinet.main import main


def changed(**sections):
    """The example with other values, as `protections={"overcurrent": {"rated_a": 5.5}}`."""

    def merge(values, changes):
        return msgspec.structs.replace(
            values,
            **{
                key: merge(getattr(values, key), change) if isinstance(change, dict) else change
                for key, change in changes.items()
            },
        )

    return merge(parse(example()), sections)


def test_limits_of_the_example_do_not_contradict_each_other():
    assert not [sentence for sentence in equivalents(parse(example())) if sentence.startswith("warning")]


def test_rating_below_what_the_watts_mean_is_warned_of():
    config = changed(protections={"overcurrent": {"rated_a": 5.5}})
    assert any("should be 6.4 or more" in sentence for sentence in equivalents(config))


def test_rating_above_the_relays_is_warned_of():
    config = changed(protections={"overcurrent": {"rated_a": 16.0}})
    assert any("19.2 A through a relay of 16 A" in sentence for sentence in equivalents(config))


def test_peak_limit_below_the_peaks_of_the_watts_is_warned_of():
    config = changed(protections={"short_circuit": {"peak_a": 12.0}})
    assert any("takes it for a short" in sentence for sentence in equivalents(config))


def test_unplugged_above_no_load_is_warned_of():
    assert any("unplugged at once" in sentence for sentence in equivalents(changed(charge={"unplugged_w": 6.0})))


@pytest.mark.parametrize("part", ["4.5 A at a power factor of 1", "21.2 A RMS of a heater", "53 A at 0.6"])
def test_check_says_what_limits_mean_in_the_other_unit(part, tmp_path, capsys):
    path = tmp_path / "cabinet.toml"
    path.write_text(example(), encoding="utf-8")
    assert main(["check", str(path)]) == 0
    assert part in capsys.readouterr().err
