"""All protections, found in the files of this folder, in the order of `model.Fault`; and their sections. Pure."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

import msgspec

from cabinet import protections
from cabinet.model import Fault
from cabinet.protections.inputs import CabinetProtection, OutletProtection, Protection
from cabinet.sections import Section


def _all() -> list[type[Protection]]:
    """Return the class of each fault.

    Raises KeyError for a fault without a protection, ValueError for one with two or for a class that does not say
    whether its fault is latched.
    """
    found: dict[Fault, type[Protection]] = {}
    for file in pkgutil.iter_modules(protections.__path__, f"{protections.__name__}."):
        if file.name != __name__:
            for kind in vars(importlib.import_module(file.name)).values():
                if not (isinstance(kind, type) and issubclass(kind, Protection) and "fault" in vars(kind)):
                    continue
                if found.setdefault(kind.fault, kind) is not kind or not hasattr(kind, "latched"):
                    raise ValueError(f"{file.name}: two protections for {kind.fault.value}, or one without `latched`")
    return [found[fault] for fault in Fault]


ALL = _all()
PROTECTIONS = tuple(kind for kind in ALL if issubclass(kind, OutletProtection))
CABINET_PROTECTIONS = tuple(kind for kind in ALL if issubclass(kind, CabinetProtection))
RESUMES = frozenset(kind.fault for kind in ALL if kind.resumes)
SUSPENDS = frozenset(kind.fault for kind in ALL if kind.suspends)
HIDDEN_CURRENT = frozenset(kind.fault for kind in ALL if kind.hides_current)


if TYPE_CHECKING:

    class ProtectionsSection(Section, frozen=True):
        def __getattr__(self, section: str) -> Any: ...

else:
    sections = {kind.section_name(): kind.section for kind in ALL if kind.section is not Section}
    fields = [(name, section, section()) for name, section in sections.items()]
    ProtectionsSection = msgspec.defstruct("ProtectionsSection", fields, bases=(Section,), module=__name__, frozen=True)
    ProtectionsSection.__doc__ = (
        "Limits of the protection functions, the first to be reported first; `docs/safety-case.md` gives each hazard."
    )
