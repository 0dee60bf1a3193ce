"""How a fault is declared: what it is, what it takes, what sets and what removes it. The faults are in `faults`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cabinet.sim.world import World

Params = Mapping[str, float | str]
Change = Callable[["World", int, Params, int], None]


class Number(NamedTuple):
    """A parameter that is a number with bounds; `default` None means it may be left out."""

    default: float | None
    least: float
    most: float
    what: str


class Choice(NamedTuple):
    """A parameter that is one of a few words; the first is the default."""

    options: tuple[str, ...]
    what: str


class Word(NamedTuple):
    """A parameter that is any word; the fault's `check` knows which ones there are."""

    default: str
    what: str


Parameter = Number | Choice | Word


def nothing(world: "World", number: int, params: Params, at_ns: int) -> None:
    """What has happened cannot be undone."""


class Kind(NamedTuple):
    """A fault. `example` is what a person types after `cabinet sim fault`."""

    what: str
    example: str
    apply: Change
    remove: Change
    params: Mapping[str, Parameter] = {}
    cabinet: bool = False  # of the whole cabinet, not of an outlet
    lasts: bool = True  # False: it happens and is over
    shared: bool = False  # of something that two outlets share: it goes when it is cleared at both
    check: Callable[["World", int, Params], None] = lambda world, number, params: None  # SimError: it cannot be here


class Standing(NamedTuple):
    """A fault that is there, as it was set."""

    params: Params


def ends_after(world: "World", kind: str, params: Params, at_ns: int, undo: Callable[[int], None]) -> None:
    """With `seconds` given, the cabinet's fault goes by itself after them, unless it was set anew meanwhile."""
    if "seconds" not in params:
        return
    standing = world.faults[None][kind]

    def end(t: int) -> None:
        if world.faults.get(None, {}).get(kind) is standing:
            del world.faults[None][kind]
            undo(t)

    world.timeline.at(at_ns + round(float(params["seconds"]) * 1e9), end)
