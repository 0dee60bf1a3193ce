"""The scenarios in the order in which they run: later ones start from the state that earlier ones leave."""

import importlib
from types import ModuleType

ORDER = (
    "install", "first_boot", "commission", "short", "killed", "stopped", "hung", "storm", "console", "footprint",
    "ten_charges", "disk_full", "read_only", "panic", "year_1970", "upgrade", "update", "purge", "disk_images",
    "power_cut",
)  # fmt: skip


def in_container(name: str) -> bool:
    return getattr(module_of(name), "IN_CONTAINER", False)


def in_machine(name: str) -> bool:
    return getattr(module_of(name), "IN_MACHINE", True)


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"vm.scenarios.{name}")


OUTSIDE = [name for name in ORDER if in_machine(name)]
INSIDE = [name for name in ORDER if in_container(name)]
