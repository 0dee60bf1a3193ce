"""Parts of the virtual machine, built once and kept in build/vm: kernel, modules, initial RAM disk, disk.

It needs root and Debian 12 (debootstrap, mke2fs, dpkg, a compiler, and the kernel's headers and source of the same
version). If a tool is missing, the error names it and the apt command to install it; no step is skipped.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "vm"
CACHE = ROOT / "build" / "vm"

RELEASE = "6.1.0-56-amd64"  # image, headers and source must have the same version
HEADERS = Path(f"/usr/src/linux-headers-{RELEASE}")
SOURCE = Path("/usr/src/linux-source-6.1.tar.xz")
NEEDED = (
    f"linux-headers-{RELEASE} linux-source-6.1 debootstrap qemu-system-x86 qemu-utils e2fsprogs cpio kmod "
    "systemd-container"
)

# No Debian kernel package has gpio-sim; it is built from these three source files.
SOURCES = {
    "drivers/gpio/gpio-sim.c": "gpio-sim-main.c",
    "drivers/gpio/gpiolib.h": "gpiolib.h",
    "kernel/irq/irq_sim.c": "irq_sim.c",
}
PACKAGES = "systemd,systemd-sysv,udev,dbus,kmod,procps,e2fsprogs,python3,tzdata"
EARLY_MODULES = ("virtio_pci", "virtio_blk", "ext4")
MODULES = (
    "drivers/i2c", "drivers/watchdog", "drivers/virtio", "drivers/char", "drivers/block", "drivers/tty",
    "fs/ext4", "fs/jbd2", "fs/configfs", "lib", "crypto", "arch/x86/crypto",
)  # fmt: skip
"""Kernel modules that the machine may need; the others, such as sound and network cards, are not copied."""
DISK_MIB = 1536


class CannotBuild(Exception):
    """Error with one line that states the reason and the remedy."""


def base() -> Path:
    """Build the disk with Debian and the bench, without the product. Return it. Raises CannotBuild."""
    check_machine()
    CACHE.mkdir(parents=True, exist_ok=True)
    kernel()
    modules()
    system()
    initial_disk()
    disk = CACHE / "base.raw"
    newest = max(path.stat().st_mtime for path in (HERE / "guest").iterdir())
    if not disk.exists() or disk.stat().st_mtime < newest:
        put_bench_on(CACHE / "rootfs")
        make_disk(CACHE / "rootfs", disk, DISK_MIB)
    return disk


def installed(package: Path) -> Path:
    """Build the disk with the package installed from the host; the scenario `install` does it in the machine.

    As on a new cabinet there is no configuration; the units are enabled and start with the machine.
    """
    base()
    disk, mark = CACHE / "installed.raw", CACHE / "installed.of"
    made_of = f"{package} {package.stat().st_mtime_ns} {(CACHE / 'base.raw').stat().st_mtime_ns}"
    if disk.exists() and mark.exists() and mark.read_text() == made_of:
        return disk
    folder = CACHE / "rootfs-installed"
    shutil.rmtree(folder, ignore_errors=True)
    run("cp", "-a", CACHE / "rootfs", folder)
    shutil.copy(package, folder / "cabinet.deb")
    run("mount", "-t", "proc", "proc", folder / "proc")  # the package's scripts use systemd tools, which need it
    try:
        run("chroot", folder, "dpkg", "--force-unsafe-io", "-i", "/cabinet.deb")
    finally:
        run("umount", folder / "proc")
    (folder / "cabinet.deb").unlink()
    make_disk(folder, disk, DISK_MIB)
    shutil.rmtree(folder)
    mark.write_text(made_of)
    return disk


def check_machine() -> None:
    missing = [
        tool
        for tool in ("debootstrap", "qemu-system-x86_64", "mke2fs", "cpio", "make", "gcc", "depmod")
        if not shutil.which(tool)
    ]
    missing += [str(path) for path in (HEADERS, SOURCE) if not path.exists()]
    if missing:
        raise CannotBuild(f"{', '.join(missing)}: not here: apt install {NEEDED}")
    if os.geteuid() != 0:
        raise CannotBuild("making the machine's disk needs root")


def kernel() -> Path:
    """Download and unpack Debian's kernel package. Return its folder."""
    folder = CACHE / "kernel"
    if not (folder / "boot" / f"vmlinuz-{RELEASE}").exists():
        run("apt-get", "download", f"linux-image-{RELEASE}", cwd=CACHE)
        (package,) = CACHE.glob(f"linux-image-{RELEASE}_*.deb")
        run("dpkg", "-x", package, folder)
        run("depmod", "-b", folder, RELEASE)
    return folder


def modules() -> Path:
    """Build gpio-sim and the bench's I2C adapter for that kernel. Return their folder."""
    folder = CACHE / "modules"
    sources = [HERE / "modules" / "i2c-bench.c", HERE / "modules" / "Makefile"]
    built = [folder / "gpio-sim.ko", folder / "i2c-bench.ko"]
    if all(path.exists() for path in built) and built[1].stat().st_mtime > max(p.stat().st_mtime for p in sources):
        return folder
    folder.mkdir(exist_ok=True)
    for source in sources:
        shutil.copy(source, folder)
    if not all((folder / name).exists() for name in SOURCES.values()):
        prefix = SOURCE.name.removesuffix(".tar.xz")
        run("tar", "-xf", SOURCE, "-C", CACHE, *(f"{prefix}/{name}" for name in SOURCES))
        for name, target in SOURCES.items():
            text = (CACHE / prefix / name).read_text()
            # Replace the one symbol that a module may not use with its exported equivalent.
            text = re.sub(r"handle_simple_irq\(irq_to_desc\((\w+)\)\)", r"generic_handle_irq(\1)", text)
            (folder / target).write_text(text)
    run("make", "-s", "-C", HEADERS, f"M={folder}", "modules")
    for path in built:
        run("strip", "--strip-debug", path)
    return folder


def system() -> Path:
    """Build a small Debian system. Return its folder."""
    folder = CACHE / "rootfs"
    if not (folder / "sbin/init").exists():
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", folder)
    return folder


def put_bench_on(rootfs: Path) -> None:
    """Install kernel modules and the bench's units, and mask units that a virtual machine does not need."""
    target = rootfs / "lib/modules" / RELEASE
    if not target.exists():
        for subsystem in MODULES:
            shutil.copytree(
                CACHE / "kernel/lib/modules" / RELEASE / "kernel" / subsystem, target / "kernel" / subsystem
            )
        for listing in (CACHE / "kernel/lib/modules" / RELEASE).glob("modules.*"):
            shutil.copy(listing, target)
    (target / "extra").mkdir(exist_ok=True)
    for module in (CACHE / "modules").glob("*.ko"):
        shutil.copy(module, target / "extra")
    run("depmod", "-b", rootfs, RELEASE)
    bench = rootfs / "opt/bench"
    bench.mkdir(parents=True, exist_ok=True)
    (rootfs / "var/lib/bench").mkdir(parents=True, exist_ok=True)
    for path in (HERE / "guest").iterdir():
        if path.suffix == ".service":
            shutil.copy(path, rootfs / "etc/systemd/system")
            run("systemctl", f"--root={rootfs}", "enable", "-q", path.name)
        elif path.suffix == ".conf":  # drop-in for units with a separate /proc
            for unit in ("cabinet-guard", "cabinet-failsafe"):
                folder = rootfs / f"etc/systemd/system/{unit}.service.d"
                folder.mkdir(exist_ok=True)
                shutil.copy(path, folder)
        elif path.name != "init":
            shutil.copy(path, bench)
    text = (HERE / "guest/cabinet.toml").read_text()
    for name, bus, pins, run_folder in (
        ("sim.toml", "sim", "sim", "/run/bench"),
        ("cabinet.toml", "/dev/i2c-1", "lgpio", "/run/cabinet"),
    ):
        (bench / name).write_text(text.replace("@BUS@", bus).replace("@PINS@", pins).replace("@RUN@", run_folder))
    (rootfs / "etc/fstab").write_text("/dev/vda / ext4 defaults,noatime,errors=remount-ro 0 1\n")  # as Raspberry Pi OS
    (rootfs / "etc/hostname").write_text("cabinet-vm\n")
    for unit in ("getty@tty1.service", "serial-getty@ttyS0.service", "apt-daily.timer", "apt-daily-upgrade.timer",
                 "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "e2scrub_reap.service"):  # fmt: skip
        run("systemctl", f"--root={rootfs}", "mask", "-q", unit)


def initial_disk() -> Path:
    """Build the initial RAM disk with busybox and the modules for the disk. Return its file."""
    target = CACHE / "initrd.cpio"
    if target.exists() and target.stat().st_mtime > (HERE / "guest/init").stat().st_mtime:
        return target
    folder = CACHE / "initrd"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    if not list(CACHE.glob("busybox-static_*.deb")):
        run("apt-get", "download", "busybox-static", cwd=CACHE)
    (package,) = CACHE.glob("busybox-static_*.deb")
    run("dpkg", "-x", package, folder / "unpacked")
    shutil.move(folder / "unpacked/bin/busybox", folder / "bin/busybox")
    shutil.rmtree(folder / "unpacked")
    shutil.copy(HERE / "guest/init", folder / "init")
    modules_root = CACHE / "kernel"
    for name in EARLY_MODULES:
        shown = run("modprobe", "-d", modules_root, "-S", RELEASE, "--show-depends", name)
        for path in re.findall(r"^insmod (\S+)", shown, re.MULTILINE):
            place = folder / Path(path).relative_to(modules_root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    # ext4 loads its checksum module by name when it mounts.
    for path in (modules_root / "lib/modules" / RELEASE).rglob("crc32c_generic.ko"):
        place = folder / path.relative_to(modules_root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
        shutil.copy(modules_root / "lib/modules" / RELEASE / name, folder / "lib/modules" / RELEASE / name)
    run("depmod", "-b", folder, RELEASE)
    run("sh", "-c", f"find . | cpio -o -H newc --quiet > {target}", cwd=folder)
    return target


def make_disk(folder: Path | None, disk: Path, mib: int) -> None:
    """Make a disk with the content of `folder`. As on a used card, the kernel has no inode tables to initialise."""
    disk.unlink(missing_ok=True)
    content: list[str | Path] = [] if folder is None else ["-d", folder]
    run("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", *content, disk, f"{mib}M")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuild(
            f"{' '.join(map(str, command[:3]))}: exit status {done.returncode}: {done.stderr.strip()[-500:]}"
        )
    return done.stdout
