#!/bin/sh
# Becomes a node: joins its cgroups, stacks its overlay, then turns into systemd-nspawn (same process id).
# Runs under `unshare --mount`, so that every mount here dies with the node, whatever kills it.
# Arguments: LOWER UPPER WORK ROOT CGROUPS (a file with one cgroup.procs path a line), then nspawn's own.
set -eu
lower=$1 upper=$2 work=$3 root=$4 cgroups=$5
shift 5
while read -r procs; do echo $$ > "$procs"; done < "$cgroups"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" "$root"
# nspawn keeps locks and propagation directories under /run/systemd/nspawn: keep them out of the machine's.
mount -t tmpfs -o mode=755 tmpfs /run
exec systemd-nspawn --directory="$root" "$@"
