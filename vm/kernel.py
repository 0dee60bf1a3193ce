"""A machine's kernel and modules: Debian's, and the two of the test bed built for it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from vm.archive import Archive, Kernel, host_arch, release_names_of_host, run, sources
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
    here = guest.release.name in release_names_of_host()
    root, inside = (guest.folder / "headers",) * 2 if here else (guest.folder / "builder", Path("/"))
    if not here and not (root / "usr/bin/make").exists():
        debootstrap(guest.release.name, host_arch(), "gcc,make,libc6-dev,libelf-dev", root)
    headers = _headers(guest, kernel, root, inside)
    place = root / "modules"
    place.mkdir(exist_ok=True)
    for path in given:
        shutil.copy(path, place)
    _kernel_sources(guest, kernel, place)
    words = ["make", "-s", f"M={inside / 'modules'}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]
    if guest.processor.arch != host_arch():
        words += [
            f"DEB_BUILD_ARCH={host_arch()}", f"DEB_HOST_ARCH={guest.processor.arch}",
            f"DEB_HOST_GNU_TYPE={guest.processor.gnu}",
        ]  # fmt: skip
    run(*(() if here else ("chroot", root)), *words, "-C", inside / headers)
    folder.mkdir(exist_ok=True)
    for name in BUILT:
        run(f"{guest.processor.gnu}-strip", "--strip-debug", "-o", folder / name, place / name)
    return folder


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
    target = str(inside / "usr/src")  # instead of the host's
    makefile.write_text(re.sub(r"(?m)^include .*?/usr/src", f"include {target}", makefile.read_text()))
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
