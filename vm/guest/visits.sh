#!/bin/sh
# A resident who charges repeatedly. Sessions that the phone has shown are listed in /run/bench/seen: none may be lost.
phone() { /usr/bin/python3 /opt/bench/phone.py "$@" > /dev/null 2>&1; }
while :; do
    phone start "$@" && { sed 's,/charge/,,' /var/lib/bench/charge; echo; } >> /run/bench/seen
    sleep "$(awk 'BEGIN { srand(); print 4 * rand() }')"
    phone stop "$@"
done
