#!/bin/sh
# Makes the overlay layer of a node whose systemd is really outdated: the oldest version that the archive still
# offers is installed, the newest one waits in a local apt repository (a node has no network).
# Arguments: BASE (lower tree), WORK (an empty directory; WORK/upper becomes the layer), SOURCES (an apt
# sources.list of the archive), APTCONF (the machine's own apt settings: proxies, validity checks).
# Runs in a mount namespace of its own, so that nothing stays mounted when it dies.
set -eu
base=$1 work=$2 sources=$3 aptconf=$4
mkdir -p "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/work" "$work/root"
root=$work/root
cp "$sources" "$root/etc/apt/sources.list"
cp "$aptconf" "$root/etc/apt/apt.conf.d/99lab-archive"
cp /etc/resolv.conf "$root/etc/resolv.conf"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"

inside() { DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$root" "$@"; }
inside apt-get -q update
versions=$(inside apt-cache madison systemd | awk '{print $3}' | sort -u)
old= new=
for version in $versions; do
    if [ -z "$old" ] || inside dpkg --compare-versions "$version" lt "$old"; then old=$version; fi
    if [ -z "$new" ] || inside dpkg --compare-versions "$version" gt "$new"; then new=$version; fi
done
if [ "$old" = "$new" ]; then
    echo "the archive offers only systemd $old: no outdated package can be installed from it" >&2
    exit 3
fi
packages=$(inside dpkg-query -W -f '${source:Package} ${Package}\n' | awk '$1 == "systemd" {print $2}')
pinned=$(for package in $packages; do echo "$package=$old"; done)
# shellcheck disable=SC2086 # a list of words on purpose
inside apt-get -q -y --allow-downgrades --no-install-recommends install $pinned

mkdir -p "$root/srv/lab-repo"
newest=$(for package in $packages; do echo "$package=$new"; done)
# shellcheck disable=SC2086 # a list of words on purpose
inside sh -c 'cd /srv/lab-repo && apt-get -q -o APT::Sandbox::User=root download "$@"' download $newest
for deb in "$root"/srv/lab-repo/*.deb; do
    dpkg-deb -f "$deb"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$(basename "$deb")" "$(stat -c %s "$deb")" \
        "$(sha256sum "$deb" | cut -d' ' -f1)"
done > "$root/srv/lab-repo/Packages"

rm -rf "$root/etc/resolv.conf" "$root/etc/apt/apt.conf.d/99lab-archive" "$root"/var/lib/apt/lists/* \
    "$root"/var/cache/apt/* "$root"/var/log/*.log "$root"/var/log/apt
echo 'deb [trusted=yes] file:/srv/lab-repo ./' > "$root/etc/apt/sources.list"
inside apt-get -q update
rm -rf "$root"/var/cache/apt/*.bin
: > "$root/etc/machine-id"
umount "$root/dev" "$root/proc" "$root"
printf '%s\n%s\n' "$old" "$new" > "$work/versions"
