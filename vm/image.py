"""Disks of a virtual machine, built once and kept in build/vm: Debian, bench and package, and the initial RAM disk.

It needs root and Debian (debootstrap, mke2fs, dpkg, a compiler). If a tool is missing, the error names it and the apt
command to install it; no step is skipped. Kernel, headers and source are downloaded, all of one version.
"""

import os
import re
import shutil
from pathlib import Path

from vm.archive import Archive, run
from vm.guests import ROOT, CannotBuild, Guest
from vm.kernel import can_run, debootstrap, kernel, modules

FILES = ROOT / "vm" / "guest"
NEEDED = "debootstrap qemu-utils e2fsprogs cpio kmod make gcc systemd-container"
NEEDED_FOR = {
    "amd64": "qemu-system-x86",
    "arm64": "qemu-system-arm qemu-user-static binfmt-support gcc-aarch64-linux-gnu",
}
PACKAGES = "systemd,systemd-sysv,udev,dbus,kmod,procps,e2fsprogs,python3,tzdata"
EARLY_MODULES = ("virtio_pci", "virtio_blk", "ext4")
MODULES = (
    "drivers/i2c", "drivers/watchdog", "drivers/virtio", "drivers/char", "drivers/block", "drivers/tty",
    "fs/ext4", "fs/jbd2", "fs/configfs", "lib", "crypto",
)  # fmt: skip
"""Kernel modules that the machine may need; the others, such as sound and network cards, are not copied."""
MASKED = (
    "getty@tty1.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
    "fstrim.timer", "e2scrub_reap.service",
)  # fmt: skip
DISK_MIB = 1536


def base(guest: Guest) -> Path:
    """Build the disk with Debian and the bench, without the product. Return it. Raises CannotBuild."""
    check_machine(guest)
    guest.folder.mkdir(parents=True, exist_ok=True)
    modules(guest, kernel(guest))
    rootfs = system(guest)
    initial_disk(guest)
    disk = guest.folder / "base.raw"
    newest = max(path.stat().st_mtime for path in FILES.iterdir())
    if not disk.exists() or disk.stat().st_mtime < newest:
        put_bench_on(rootfs, guest)
        make_disk(rootfs, disk, DISK_MIB)
    return disk


def installed(guest: Guest, package: Path) -> Path:
    """Build the disk with the package installed from the host; the scenario `install` does it in the machine.

    As on a new cabinet there is no configuration; the units are enabled and start with the machine.
    """
    rootfs_of_base = base(guest)
    disk, mark = guest.folder / "installed.raw", guest.folder / "installed.of"
    made_of = f"{package} {package.stat().st_mtime_ns} {rootfs_of_base.stat().st_mtime_ns}"
    if disk.exists() and mark.exists() and mark.read_text() == made_of:
        return disk
    folder = guest.folder / "rootfs-installed"
    shutil.rmtree(folder, ignore_errors=True)
    run("cp", "-a", guest.folder / "rootfs", folder)
    shutil.copy(package, folder / "cabinet.deb")
    in_system(folder, guest.processor.arch, "dpkg", "--force-unsafe-io", "-i", "/cabinet.deb")
    (folder / "cabinet.deb").unlink()
    for left in guest.folder.glob("*.qcow2"):  # by earlier scenarios: only what differs from the disk before
        left.unlink()
    make_disk(folder, disk, DISK_MIB)
    shutil.rmtree(folder)
    mark.write_text(made_of)
    return disk


def in_system(folder: Path, arch: str, *command: str) -> str:
    """Run a command in a system that does not run. Return its output. Raises CannotBuild."""
    can_run(arch)
    run("mount", "-t", "proc", "proc", folder / "proc")  # a package's scripts use systemd tools, which need it
    try:
        return run("chroot", folder, *command)
    finally:
        run("umount", folder / "proc")


def check_machine(guest: Guest) -> None:
    tools = ["debootstrap", guest.processor.qemu, "mke2fs", "cpio", "make", "gcc", "depmod"]
    tools += [f"{guest.processor.gnu}-gcc", f"{guest.processor.gnu}-strip"]
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        needed = f"{NEEDED} {NEEDED_FOR[guest.processor.arch]}"
        raise CannotBuild(f"{', '.join(missing)}: not here: apt install {needed}")
    if os.geteuid() != 0:
        raise CannotBuild("making the machine's disk needs root")


def system(guest: Guest) -> Path:
    """Build a small Debian system. Return its folder."""
    folder = guest.folder / "rootfs"
    if not (folder / "sbin/init").exists():
        debootstrap(guest.release.name, guest.processor.arch, PACKAGES, folder)
    return folder


def put_modules_on(rootfs: Path, guest: Guest) -> None:
    """Install the kernel's modules and those of the bench."""
    release = kernel(guest).release
    source, target = guest.folder / "kernel/lib/modules" / release, rootfs / "lib/modules" / release
    if not target.exists():
        for subsystem in (*MODULES, f"arch/{guest.processor.kernel_arch}/crypto"):
            if (source / "kernel" / subsystem).exists():
                shutil.copytree(source / "kernel" / subsystem, target / "kernel" / subsystem)
        for listing in source.glob("modules.*"):
            shutil.copy(listing, target)
    (target / "extra").mkdir(exist_ok=True)
    for module in (guest.folder / "modules").glob("*.ko"):
        shutil.copy(module, target / "extra")
    run("depmod", "-b", rootfs, release)


def put_bench_on(rootfs: Path, guest: Guest) -> None:
    """Install kernel modules and the bench's units, and mask units that a virtual machine does not need."""
    put_modules_on(rootfs, guest)
    bench = rootfs / "opt/bench"
    bench.mkdir(parents=True, exist_ok=True)
    (rootfs / "var/lib/bench").mkdir(parents=True, exist_ok=True)
    for path in FILES.iterdir():
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
    text = (FILES / "cabinet.toml").read_text().replace("@PORT@", guest.processor.port)
    for name, bus, pins, run_folder in (
        ("sim.toml", "sim", "sim", "/run/bench"),
        ("cabinet.toml", "/dev/i2c-1", "lgpio", "/run/cabinet"),
    ):
        (bench / name).write_text(text.replace("@BUS@", bus).replace("@PINS@", pins).replace("@RUN@", run_folder))
    (rootfs / "etc/fstab").write_text("/dev/vda / ext4 defaults,noatime,errors=remount-ro 0 1\n")  # as Raspberry Pi OS
    (rootfs / "etc/hostname").write_text("cabinet-vm\n")
    for unit in (*MASKED, f"serial-getty@{guest.processor.kernel_console}.service"):
        run("systemctl", f"--root={rootfs}", "mask", "-q", unit)


def initial_disk(guest: Guest) -> Path:
    """Build the initial RAM disk with busybox and the modules for the disk. Return its file."""
    target = guest.folder / "initrd.cpio"
    if target.exists() and target.stat().st_mtime > (FILES / "init").stat().st_mtime:
        return target
    folder = guest.folder / "initrd"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    unpacked = Archive(guest).unpack("busybox-static", folder / "unpacked")
    (busybox,) = (path for path in unpacked.rglob("bin/busybox") if not path.is_symlink())
    shutil.move(busybox, folder / "bin/busybox")
    shutil.rmtree(folder / "unpacked")
    shutil.copy(FILES / "init", folder / "init")
    modules_root, release = guest.folder / "kernel", kernel(guest).release
    found: list[Path] = []
    for name in EARLY_MODULES:
        shown = run("modprobe", "-d", modules_root, "-S", release, "--show-depends", name)
        found += map(Path, re.findall(r"^insmod (\S+)", shown, re.MULTILINE))
    # ext4 loads its checksum module by name when it mounts.
    found += (modules_root / "lib/modules" / release).rglob("crc32c_generic.ko*")
    for path in found:
        place = folder / "lib/modules" / release / path.relative_to(modules_root.resolve() / "lib/modules" / release)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
        if path.suffix == ".xz":  # busybox loads plain modules only
            run("xz", "-df", place)
    for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
        shutil.copy(modules_root / "lib/modules" / release / name, folder / "lib/modules" / release / name)
    run("depmod", "-b", folder, release)
    run("sh", "-c", f"find . | cpio -o -H newc --quiet > {target}", cwd=folder)
    return target


def make_disk(folder: Path | None, disk: Path, mib: int) -> None:
    """Make a disk with the content of `folder`. As on a used card, the kernel has no inode tables to initialise."""
    disk.unlink(missing_ok=True)
    content: list[str | Path] = [] if folder is None else ["-d", folder]
    run("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", *content, disk, f"{mib}M")


def package(guest: Guest) -> Path:
    name = f"cabinet_*_{guest.processor.arch}.deb"
    found = sorted((ROOT / "dist").glob(name), key=lambda path: path.stat().st_mtime)
    if not found:
        raise CannotBuild(f"dist/{name}: is not there: make deb")
    return found[-1]
