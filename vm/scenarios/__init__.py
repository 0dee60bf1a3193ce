"""The scenarios in the order in which they run: later ones start from the state that earlier ones leave."""

import importlib
from types import ModuleType

from vm.guests import Guest

ORDER = (
    "install", "first_boot", "commission", "short", "killed", "stopped", "hung", "storm", "console", "footprint",
    "written", "ten_charges", "disk_full", "read_only", "panic", "year_1970", "upgrade", "update", "os_upgrade",
    "purge", "disk_images", "power_cut",
)  # fmt: skip


def in_container(name: str) -> bool:
    return getattr(module_of(name), "IN_CONTAINER", False)


def in_machine(name: str, guest: Guest) -> bool:
    module = module_of(name)
    return getattr(module, "IN_MACHINE", True) and guest.name in getattr(module, "GUESTS", (guest.name,))


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"vm.scenarios.{name}")
