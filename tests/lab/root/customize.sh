#!/bin/sh
# Turns a fresh debootstrap tree ($1) into the root that every node of the lab shares read-only.
set -eu
root=$1
# A node's machine id and journal are its own: an empty file makes systemd write a new id at first boot.
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/etc/hostname" "$root/etc/resolv.conf"
mkdir -p "$root/etc/systemd/journald.conf.d" "$root/etc/nodemend"
printf '[Journal]\nStorage=persistent\nSystemMaxUse=64M\nRateLimitIntervalSec=0\n' \
    > "$root/etc/systemd/journald.conf.d/lab.conf"
# No network inside: apt must not try, and timers would only add noise to the before/after comparison.
: > "$root/etc/apt/sources.list"
# Path units hold inotify instances, of which the machine's root has 128 for all nodes together.
for unit in systemd-ask-password-console.path systemd-ask-password-wall.path apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    systemd-tmpfiles-clean.timer getty.target console-getty.service systemd-networkd.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log "$root"/var/log/apt \
    "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale "$root"/usr/share/info
