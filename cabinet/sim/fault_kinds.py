"""Declaration of a fault: its title, its parameters, the calls that set and remove it. The faults are in `faults`."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from cabinet.sim.world import Params, World

Change = Callable[[World, int, Params, int], None]


class Number(NamedTuple):
    """A numeric parameter with bounds; if `default` is None, it is optional."""

    default: float | None
    least: float
    most: float
    what: str


class Choice(NamedTuple):
    """A parameter with fixed options; the first is the default."""

    options: tuple[str, ...]
    what: str


class Word(NamedTuple):
    """A parameter that is any word; the fault's `check` refuses unknown ones."""

    default: str
    what: str


Parameter = Number | Choice | Word


def nothing(world: World, number: int, params: Params, at_ns: int) -> None:
    """Do nothing: a fault that is over at once cannot be undone."""


class FaultKind(NamedTuple):
    """A fault. `example` is the text to type after `cabinet sim fault`."""

    what: str
    example: str
    apply: Change
    remove: Change
    params: Mapping[str, Parameter] = {}
    cabinet: bool = False  # a fault of the whole cabinet, not of an outlet
    lasts: bool = True  # False: a single event
    shared: bool = False  # a fault of a part that two outlets share: it ends when it is cleared at both
    check: Callable[[World, int, Params], None] = lambda world, number, params: None  # raises SimError if impossible


def ends_after(world: World, kind: str, params: Params, at_ns: int, undo: Callable[[int], None]) -> None:
    """End the cabinet's fault after `seconds`, if given, unless it has been set again meanwhile."""
    if "seconds" not in params:
        return
    standing = world.faults[None][kind]

    def end(t: int) -> None:
        if world.faults.get(None, {}).get(kind) is standing:
            del world.faults[None][kind]
            undo(t)

    world.timeline.at(at_ns + round(float(params["seconds"]) * 1e9), end)
