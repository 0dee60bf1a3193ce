"""A machine's kernel and modules: Debian's, and the two of the test bed built for it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from vm.archive import Archive, Kernel, host_arch, run, sources
from vm.guests import ROOT, CannotBuild, Guest

SOURCES_OF_BED = ROOT / "vm" / "modules"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# No Debian kernel package has gpio-sim; it is built from these source files.
SOURCES = {
    "drivers/gpio/gpio-sim.c": "gpio-sim-main.c",
    "drivers/gpio/gpiolib.h": "gpiolib.h",
    "kernel/irq/irq_sim.c": "irq_sim.c",
}
BUILT = ("gpio-sim.ko", "i2c-bench.ko")


def kernel(guest: Guest) -> Kernel:
    """Download and unpack Debian's kernel package, newest version, once. Return what it is."""
    folder, mark = guest.folder / "kernel", guest.folder / "kernel.version"
    if mark.exists():
        return Kernel(*mark.read_text().split())
    archive = Archive(guest)
    found = archive.kernel()
    archive.unpack(f"linux-image-{found.release}", folder)
    if not (folder / "lib").exists():
        (folder / "lib").symlink_to("usr/lib")
    run("depmod", "-b", folder, found.release)
    mark.write_text(" ".join(found))
    return found


def modules(guest: Guest, kernel: Kernel) -> Path:
    """Build gpio-sim and the bench's I2C adapter for that kernel. Return their folder.

    They are built with the compiler of the host if it has the same release; otherwise in a system of that release,
    because the tools in the kernel's headers are programs of it.
    """
    folder = guest.folder / "modules"
    given = [SOURCES_OF_BED / "i2c-bench.c", SOURCES_OF_BED / "Makefile"]
    built = [folder / name for name in BUILT]
    if all(path.exists() for path in built) and built[1].stat().st_mtime > max(p.stat().st_mtime for p in given):
        return folder
    here = guest.release.name in {suite for _, suite in sources(guest.release.name)} & set(_suites_of_host())
    root = guest.folder / ("headers" if here else "builder")
    if not here:
        _system_with_compiler(guest, root)
    headers = _headers(guest, kernel, root, root if here else Path("/"))
    place = root / "modules"
    place.mkdir(exist_ok=True)
    for path in given:
        shutil.copy(path, place)
    _kernel_sources(guest, kernel, place)
    inside = root if here else Path("/")
    command: list[str | Path] = [
        "make",
        "-s",
        "-C",
        inside / headers,
        f"M={inside / 'modules'}",
        "CONFIG_DEBUG_INFO_BTF_MODULES=",
    ]
    if guest.processor.arch != host_arch():
        command += [
            f"DEB_BUILD_ARCH={host_arch()}", f"DEB_HOST_ARCH={guest.processor.arch}",
            f"DEB_HOST_GNU_TYPE={guest.processor.gnu}",
        ]  # fmt: skip
    run(*(() if here else ("chroot", root)), *command, "modules")
    folder.mkdir(exist_ok=True)
    for name in BUILT:
        run(f"{guest.processor.gnu}-strip", "--strip-debug", "-o", folder / name, place / name)
    return folder


def _suites_of_host() -> list[str]:
    return run("apt-get", "indextargets", "--format", "$(RELEASE)", "Created-By: Packages", "Component: main").split()


def _system_with_compiler(guest: Guest, root: Path) -> None:
    if not (root / "usr/bin/make").exists():
        debootstrap(guest.release.name, host_arch(), "gcc,make,libc6-dev,libelf-dev", root)


def _headers(guest: Guest, kernel: Kernel, root: Path, inside: Path) -> str:
    """Unpack the kernel's headers below `root`, which the compiler has as `inside`. Return their folder."""
    archive = Archive(guest)
    common = kernel.release.removesuffix(f"-{guest.processor.arch}") + "-common"
    for name in (kernel.release, common):
        archive.unpack(f"linux-headers-{name}", root)
    headers = f"usr/src/linux-headers-{kernel.release}"
    tools = os.readlink(root / headers / "scripts").split("/")[-2]
    # The tools run where the modules are built, for whatever processor these are.
    archive.unpack(f"{tools}:{host_arch()}", root)
    makefile = root / headers / "Makefile"
    makefile.write_text(
        re.sub(r"(?m)^include .*?(?=usr/src)", f"include {inside / ''}/".replace("//", "/"), makefile.read_text())
    )
    return headers


def _kernel_sources(guest: Guest, kernel: Kernel, place: Path) -> None:
    if all((place / name).exists() for name in SOURCES.values()):
        return
    folder = guest.folder / "source"
    Archive(guest).unpack(f"linux-source-{kernel.series}={kernel.package_version}", folder)
    name = f"linux-source-{kernel.series}"
    run("tar", "-xf", folder / "usr/src" / f"{name}.tar.xz", "-C", folder, *(f"{name}/{path}" for path in SOURCES))
    for path, target in SOURCES.items():
        text = (folder / name / path).read_text()
        # Replace the one symbol that a module may not use with its exported equivalent.
        text = re.sub(r"handle_simple_irq\(irq_to_desc\((\w+)\)\)", r"generic_handle_irq(\1)", text)
        (place / target).write_text(text)
    shutil.rmtree(folder)


def debootstrap(release: str, arch: str, packages: str, folder: Path) -> None:
    """Make a Debian system. For another processor its programs run under user emulation."""
    can_run(arch)
    site = sources(release)[0][0]
    shutil.rmtree(folder, ignore_errors=True)
    run("debootstrap", "--variant=minbase", f"--arch={arch}", f"--include={packages}", release, folder, site)


def can_run(arch: str) -> None:
    """Have the kernel start programs of that architecture with QEMU. Raises CannotBuild."""
    name = {"arm64": "qemu-aarch64", "amd64": "qemu-x86_64"}[arch]
    if arch == host_arch() or (BINFMT / name).exists():
        return
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], capture_output=True, check=False)
    subprocess.run(["update-binfmts", "--enable", name], capture_output=True, check=False)
    if not (BINFMT / name).exists():
        raise CannotBuild(
            f"no program of {arch} can be started here: apt install qemu-user-static binfmt-support; the kernel needs "
            "binfmt_misc"
        )
