"""Choice of the tariff of a charge, and tariffs that contradict each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinet.billing.posted import ALWAYS, PostedTariff, choose, clashes
from cabinet.billing.tariff import Band, Period, Tariff


def posted(version: str, **what_for: object) -> PostedTariff:
    tariff = Tariff(version=version, bands=(Band(0, None, 20),), periods=(Period(0, 1440, 50),))
    return PostedTariff(tariff, version, **what_for)  # type: ignore[arg-type]


BASE = posted("base")
SPRING = posted("spring", from_day=100)
FAST = posted("fast", outlets=frozenset({1, 2}))
STAFF = posted("staff", groups=frozenset({"staff"}))
FAIR = posted("fair", from_day=110, until_day=112)


@pytest.mark.parametrize(
    ("outlet", "group", "day", "version"),
    [
        pytest.param(5, "", 99, "base", id="what no other is for"),
        pytest.param(5, "", 100, "spring", id="from its first day on"),
        pytest.param(1, "", 120, "fast", id="of an outlet before one for all, however new"),
        pytest.param(1, "staff", 120, "staff", id="of a group before one of an outlet"),
        pytest.param(5, "students", 99, "base", id="another group"),
        pytest.param(5, "", 112, "fair", id="on its last day"),
        pytest.param(5, "", 113, "spring", id="and no longer"),
    ],
)
def test_the_most_special_tariff_is_chosen(outlet: int, group: str, day: int, version: str) -> None:
    assert choose([BASE, SPRING, FAST, STAFF, FAIR], outlet, group, day).version == version


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (SPRING, posted("other", from_day=100), "both are for the same outlets and residents from the same day"),
        (SPRING, posted("spring", from_day=200), "both are version 'spring', which is printed on receipts"),
        (FAST, posted("other", outlets=frozenset({2, 3})), "both are for the same outlets and residents"),
        (STAFF, posted("other", groups=frozenset({"staff", "guests"})), "both are for the same outlets"),
    ],
)
def test_tariffs_of_which_a_charge_could_have_either_clash(one: PostedTariff, other: PostedTariff, why: str) -> None:
    ((first, second, found),) = clashes([one, other])
    assert (first, second) == (one, other)
    assert found.startswith(why)


@pytest.mark.parametrize(
    "other",
    [
        posted("other", from_day=101),
        posted("other", outlets=frozenset({3})),
        posted("other", groups=frozenset({"guests"})),
        posted("other", until_day=99),
    ],
)
def test_tariffs_for_different_charges_do_not_clash(other: PostedTariff) -> None:
    assert list(clashes([SPRING, FAST, STAFF, other])) == []


some = st.builds(
    posted,
    st.uuids().map(str),
    outlets=st.frozensets(st.integers(1, 3)),
    groups=st.frozensets(st.sampled_from(["a", "b"])),
    from_day=st.integers(0, 5),
    until_day=st.one_of(st.integers(5, 9), st.just(ALWAYS)),
)


@given(st.lists(some, max_size=5), st.integers(1, 3), st.sampled_from(["", "a", "b"]), st.integers(0, 9))
def test_there_is_always_one_and_without_a_clash_only_one(
    others: list[PostedTariff], outlet: int, group: str, day: int
) -> None:
    chosen = choose([BASE, *others], outlet, group, day)
    fitting = [each for each in [BASE, *others] if each.fits(outlet, group, day)]
    assert chosen in [each.tariff for each in fitting]
    best = max(each.rank for each in fitting)
    if not list(clashes([BASE, *others])):
        assert [each.tariff for each in fitting if each.rank == best] == [chosen]
