#!/bin/sh
# Devices as on a Pi: a GPIO chip with 28 lines as gpiochip0, /dev/i2c-1, a watchdog, a Revision in /proc/cpuinfo
# (gpiozero reads it). If a module is missing, the script ends with a line that names it.
set -e
cd /opt/bench
for module in i2c-dev gpio-sim i2c-bench softdog; do
    modprobe "$module" || { echo "bench: module $module is missing" >&2; exit 1; }
done
chip=/sys/kernel/config/gpio-sim/pi
mkdir -p "$chip/bank0"
echo 28 > "$chip/bank0/num_lines"
echo 1 > "$chip/live"
name=$(cat "$chip/bank0/chip_name")
[ "$name" = gpiochip0 ] || { echo "bench: the lines are $name, not gpiochip0" >&2; exit 1; }
mkdir -p /run/bench
ln -sfn "/sys/devices/platform/$(cat "$chip/dev_name")/$name" /run/bench/lines
{ cat /proc/cpuinfo; printf 'Hardware\t: BCM2835\nRevision\t: a02082\nModel\t\t: Raspberry Pi 3 Model B Rev 1.2\n'; } > /run/bench/cpuinfo
mount --bind /run/bench/cpuinfo /proc/cpuinfo
# If the clock was not set (1970), it stays untrusted; else it is marked as synchronised, as by a time server.
case $(cat /sys/class/rtc/rtc0/date) in 1970*) ;; *) python3 synchronise.py ;; esac
