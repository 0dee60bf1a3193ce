#!/bin/sh
# The machine as a Pi would be: a GPIO chip of 28 lines as gpiochip0, /dev/i2c-1, a watchdog, a Revision in
# /proc/cpuinfo (gpiozero asks for it). A module that is missing ends this with a line that says which.
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
# A clock that nobody has set stays unknown; any other one is right, as if a time server had been heard.
case $(cat /sys/class/rtc/rtc0/date) in 1970*) ;; *) python3 synchronise.py ;; esac
