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
packages=$(inside dpkg-query -W -f '${source:Package} ${Package}\n' | awk '$1 == "systemd" {print $2}')
at() { for package in $packages; do echo "$package=$1"; done; }

mkdir -p "$root/srv/lab-repo"
# shellcheck disable=SC2046,SC2016 # lists of words on purpose; $@ is the inner shell's
inside sh -c 'cd /srv/lab-repo && apt-get -q -o APT::Sandbox::User=root download "$@"' download $(at "$new")
if [ "$old" = "$new" ]; then
    # Between a point release and the next security update the archive has one version only. Then the same packages
    # under a higher version number are the newer ones: real packages to a package manager, with the same programs.
    new=$old+lab1
    for deb in "$root"/srv/lab-repo/*.deb; do
        dpkg-deb --raw-extract "$deb" "$work/repack"
        sed -i "s/^Version: .*/Version: $new/; s/(= $old)/(= $new)/g" "$work/repack/DEBIAN/control"
        rm "$deb"
        dpkg-deb --root-owner-group -Znone --build "$work/repack" "$root/srv/lab-repo/"
        rm -rf "$work/repack"
    done
fi
for deb in "$root"/srv/lab-repo/*.deb; do
    dpkg-deb -f "$deb"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$(basename "$deb")" "$(stat -c %s "$deb")" \
        "$(sha256sum "$deb" | cut -d' ' -f1)"
done > "$root/srv/lab-repo/Packages"
# shellcheck disable=SC2046 # a list of words on purpose
inside apt-get -q -y --allow-downgrades --no-install-recommends install $(at "$old")

rm -rf "$root/etc/resolv.conf" "$root/etc/apt/apt.conf.d/99lab-archive" "$root"/var/lib/apt/lists/* \
    "$root"/var/cache/apt/* "$root"/var/log/*.log "$root"/var/log/apt
echo 'deb [trusted=yes] file:/srv/lab-repo ./' > "$root/etc/apt/sources.list"
inside apt-get -q update
rm -rf "$root"/var/cache/apt/*.bin
: > "$root/etc/machine-id"
umount "$root/dev" "$root/proc" "$root"
printf '%s\n%s\n' "$old" "$new" > "$work/versions"
