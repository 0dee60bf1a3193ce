"""The reference page and the packaged example are what the declarations say."""

import re
from importlib import resources
from pathlib import Path

import msgspec

from cabinet.config import parse, reference
from cabinet.config.check import UNITS
from cabinet.config.keys import Config

DOCS = Path(__file__).parents[3] / "docs"


def test_reference_page_is_the_generated_one():
    assert (DOCS / "config.md").read_text(encoding="utf-8") == reference.reference()  # cabinet check --reference


def test_packaged_example_is_the_generated_one():
    packaged = resources.files("cabinet.examples").joinpath("cabinet.toml").read_text(encoding="utf-8")
    assert packaged == reference.example()  # cabinet check --example


def test_example_is_a_good_file_for_a_pi():
    config = parse(reference.example())
    assert (config.hardware.bus, config.hardware.pin_factory) == ("/dev/i2c-1", "lgpio")
    assert [outlet.number for outlet in config.outlet] == list(range(1, 11))


def test_defaults_shown_in_the_example_are_the_real_ones():
    """With the comment signs taken from its keys, the file says the same."""
    spelt = re.sub(r"^# (\w+ = (?!…).*)$", r"\1", reference.example(), flags=re.MULTILINE)
    assert spelt != reference.example()
    assert parse(spelt) == parse(reference.example())


def test_every_declared_key_is_in_reference_and_example_with_a_reason():
    for table in reference.tables():
        assert table.why, f"{table.path} has no docstring"
        for key in table.keys:
            assert key.why, f"{table.path}.{key.name} has no reason"
    named = {key.name for table in reference.tables() for key in table.keys}
    assert named >= _names(msgspec.inspect.type_info(Config)) - {"outlet", "protections"}


def test_numbers_with_a_unit_say_which():
    keys = [key for table in reference.tables() for key in table.keys]
    assert {key.name for key in keys if key.unit} >= {"peak_a", "mains_v", "max_power_w", "cap_fen", "rise_k_per_min"}
    assert all(any(key.name.endswith(suffix) for suffix in UNITS) for key in keys if key.unit)


def _names(kind) -> set[str]:
    """Names of every key below `kind`, tables with only tables in them left out."""
    names: set[str] = set()
    for field in getattr(kind, "fields", ()):
        plain, _ = reference._plain(field.type)
        if isinstance(plain, msgspec.inspect.VarTupleType):
            names |= {field.name} | _names(reference._plain(plain.item_type)[0])
        elif isinstance(plain, msgspec.inspect.StructType):
            names |= _names(plain)
        else:
            names.add(field.name)
    return names
