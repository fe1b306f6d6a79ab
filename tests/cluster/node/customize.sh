#!/bin/sh
# Turns a fresh debootstrap tree ($1) with systemd, containerd and runc into the root of every node.
set -eu
root=$1
: > "$root/etc/machine-id"
: > "$root/etc/resolv.conf"
rm -f "$root/var/lib/dbus/machine-id" "$root/etc/hostname"
mkdir -p "$root/etc/lab" "$root/opt/lab/images" "$root/etc/cni/net.d" "$root/etc/systemd/journald.conf.d"
mkdir -p "$root/etc/systemd/system/containerd.service.d" "$root/etc/systemd/system/multi-user.target.wants"

cat > "$root/lab-init" << 'END'
#!/bin/sh
# PID 1 of a node until systemd takes over. nspawn mounts the v1 controllers read-only; kubelet and
# runc must write them.
mount -o remount,rw /sys/fs/cgroup 2>/dev/null
for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
    [ -e "/sys/fs/cgroup/cgroup.controllers" ] && break # cgroup v2: one hierarchy, writable already
    umount "/sys/fs/cgroup/$controller" 2>/dev/null
    mkdir -p "/sys/fs/cgroup/$controller"
    mount -t cgroup -o "rw,nosuid,nodev,noexec,$controller" cgroup "/sys/fs/cgroup/$controller"
done
# kubelet insists on setting these three, which are the whole machine's: it gets files of its own.
mkdir -p /run/lab
for name in vm/overcommit_memory kernel/panic kernel/panic_on_oops; do
    file=/run/lab/$(echo "$name" | tr / _)
    cat "/proc/sys/$name" > "$file"
    mount --bind "$file" "/proc/sys/$name"
done
exec /lib/systemd/systemd "$@"
END
chmod 0755 "$root/lab-init"

cat > "$root/etc/containerd/config.toml" << 'END'
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  # This machine gives out no CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
END
cat > "$root/etc/systemd/system/containerd.service.d/lab.conf" << 'END'
[Service]
# modprobe overlay: the machine's business, and the module is in use already.
ExecStartPre=
OOMScoreAdjust=0
END
cat > "$root/etc/systemd/system/lab-network.service" << 'END'
[Unit]
Description=Address of this node
DefaultDependencies=no
Before=network.target containerd.service kubelet.service
[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/lab/node.env
ExecStart=/bin/sh -c 'ip link set lo up; ip addr replace $ADDRESS/24 dev host0; ip link set host0 up; ip route replace default via $GATEWAY'
[Install]
WantedBy=multi-user.target
END
cat > "$root/etc/systemd/system/lab-images.service" << 'END'
[Unit]
Description=Images of the lab
After=containerd.service
Requires=containerd.service
Before=kubelet.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for image in /opt/lab/images/*.tar; do ctr --namespace k8s.io images import "$image"; done'
[Install]
WantedBy=multi-user.target
END
cat > "$root/etc/systemd/system/kubelet.service" << 'END'
[Unit]
Description=kubelet
After=containerd.service lab-network.service lab-images.service
Wants=containerd.service
[Service]
EnvironmentFile=/etc/lab/node.env
ExecStart=/opt/lab/controlplane kubelet --config=/etc/lab/kubelet.yaml --kubeconfig=/etc/lab/kubeconfig --node-ip=${ADDRESS} --hostname-override=${NODE} --v=2
Restart=always
RestartSec=2
Delegate=yes
KillMode=process
[Install]
WantedBy=multi-user.target
END
cat > "$root/etc/lab/kubelet.yaml" << 'END'
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
failSwapOn: false
failCgroupV1: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /etc/lab/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: /etc/lab/kubelet.crt
tlsPrivateKeyFile: /etc/lab/kubelet.key
clusterDomain: cluster.local
clusterDNS: [10.0.0.10]
resolvConf: ""
oomScoreAdj: 0
# The disk is the machine's: how full it is must not decide a test.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
END
printf '[Journal]\nStorage=persistent\nSystemMaxUse=100M\nRateLimitIntervalSec=0\n' \
    > "$root/etc/systemd/journald.conf.d/lab.conf"
for unit in lab-network lab-images kubelet; do
    ln -sf "/etc/systemd/system/$unit.service" "$root/etc/systemd/system/multi-user.target.wants/"
done
ln -sf /lib/systemd/system/containerd.service "$root/etc/systemd/system/multi-user.target.wants/"
# Nothing of this is of use inside, and some of it fails there.
for unit in systemd-networkd.service systemd-resolved.service systemd-udevd.service apt-daily.timer \
    apt-daily-upgrade.timer fstrim.timer e2scrub_all.timer dpkg-db-backup.timer getty.target \
    console-getty.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
: > "$root/etc/apt/sources.list"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log "$root"/var/log/apt \
    "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale "$root"/usr/share/info
