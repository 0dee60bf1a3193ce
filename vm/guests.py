"""The machines that a scenario can run on: a Debian release on a processor."""

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "vm"


class CannotBuild(Exception):
    """Error with one line that states the reason and the remedy."""


class Processor(NamedTuple):
    """A processor as Debian, the kernel's source, the compiler and QEMU name it, and the machine around it."""

    arch: str
    kernel_arch: str
    gnu: str
    qemu: str
    machine: tuple[str, ...]
    kernel_console: str
    port: str  # of the cabinet's console
    port_device: tuple[str, ...]  # of QEMU, for that port
    parameters: str = ""  # of the kernel


class Release(NamedTuple):
    """A Debian release, and the Python in it."""

    name: str
    title: str
    python: str


class Guest(NamedTuple):
    """A release on a processor."""

    release: Release
    processor: Processor

    @property
    def name(self) -> str:
        return f"{self.release.name}-{self.processor.arch}"

    @property
    def title(self) -> str:
        return f"{self.release.title} on {self.processor.arch}"

    @property
    def folder(self) -> Path:
        """Return the folder of everything that is built for it."""
        return CACHE / self.name


AMD64 = Processor(
    "amd64", "x86", "x86_64-linux-gnu", "qemu-system-x86_64", ("-cpu", "max"), "ttyS0", "/dev/ttyS1",
    ("-serial", "chardev:console"),
)  # fmt: skip
ARM64 = Processor(
    "arm64", "arm64", "aarch64-linux-gnu", "qemu-system-aarch64", ("-M", "virt", "-cpu", "cortex-a72"),
    "ttyAMA0", "/dev/ttyS0", ("-device", "pci-serial,chardev=console"),
    # The machine's own GPIO chip, of its power button, would be gpiochip0.
    "initcall_blacklist=pl061_gpio_driver_init",
)  # fmt: skip
BOOKWORM, TRIXIE = Release("bookworm", "Debian 12", "3.11"), Release("trixie", "Debian 13", "3.13")
GUESTS = {guest.name: guest for guest in (Guest(BOOKWORM, AMD64), Guest(BOOKWORM, ARM64), Guest(TRIXIE, AMD64))}
DEFAULT = GUESTS["bookworm-amd64"]
