#!/bin/sh
# Becomes a node: joins its cgroups, stacks its overlay, then turns into systemd-nspawn (same process id).
# Runs as the first process of a PID and mount namespace: whatever kills it takes the node and its mounts along.
# Arguments: LOWER UPPER WORK ROOT CGROUPS (a file with one cgroup.procs path a line), then nspawn's own.
set -eu
lower=$1 upper=$2 work=$3 root=$4 cgroups=$5
shift 5
# 0 = the writer, whatever its number is in this PID namespace.
while read -r procs; do echo 0 > "$procs"; done < "$cgroups"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" "$root"
# nspawn keeps locks and propagation directories under /run/systemd/nspawn: keep them out of the machine's.
mount -t tmpfs -o mode=755 tmpfs /run
exec systemd-nspawn --directory="$root" "$@"
