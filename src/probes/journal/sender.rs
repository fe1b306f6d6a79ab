//! Who wrote a journal line, and whether to believe it.
//!
//! Everybody who reaches journald's socket chooses `SYSLOG_IDENTIFIER` and `UNIT`, and a process chooses its own `_COMM`.
//! journald itself adds `_PID`, `_UID`, `_SYSTEMD_CGROUP`, `_SYSTEMD_UNIT` and `_TRANSPORT` from the kernel, and refuses
//! fields of that form from senders (tried with 252: the capture in the fixtures). So the cgroup decides (safety.md, T9).

/// The identifier of PID 1. Nobody else gets it, whatever he calls himself.
const PID1_IDENTIFIER: &str = "systemd";

/// What a user's own service manager is called here.
const USER_MANAGER_IDENTIFIER: &str = "systemd-user";

/// The kernel's own facility, as journald writes it (LOG_KERN of syslog(3)).
const KERNEL_FACILITY: &str = "0";

/// The kernel cuts a comm to 15 bytes.
const COMM_BYTES: usize = 15;

/// A container runtime names its cgroups by ids of 64 hexadecimal digits, others by at least half of that.
const ID_DIGITS: usize = 32;

/// The fields of a line that tell who wrote it. Missing ones are empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SenderFields<'a> {
    /// `_TRANSPORT`: how it reached journald.
    pub transport: &'a str,
    /// `_PID`.
    pub pid: &'a str,
    /// `_UID`.
    pub uid: &'a str,
    /// `_COMM`, which the process can set.
    pub comm: &'a str,
    /// `_SYSTEMD_CGROUP`.
    pub cgroup: &'a str,
    /// `_SYSTEMD_UNIT`.
    pub unit: &'a str,
    /// `UNIT`: which unit PID 1 writes about; a lie if anybody else sends it.
    pub about_unit: &'a str,
    /// `SYSLOG_IDENTIFIER`, which the sender chooses.
    pub identifier: &'a str,
    /// `SYSLOG_FACILITY`: for what came out of the kernel's ring, the facility that the kernel gave it.
    pub facility: &'a str,
}

/// Who wrote a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender<'a> {
    /// Somebody of the machine itself.
    Machine {
        /// `systemd` for PID 1 only; else the comm, or the longer identifier that agrees with it.
        identifier: &'a str,
        /// The unit it runs in, or the unit that PID 1 writes about.
        unit: &'a str,
    },
    /// The kernel itself. The probe `kernel_log` reads it at its source where it may.
    Kernel,
    /// A container, a user, or nobody knows.
    Untrusted,
}

/// Judges who wrote a line.
pub fn sender<'a>(fields: &SenderFields<'a>) -> Sender<'a> {
    match fields.transport {
        "kernel" if fields.facility == KERNEL_FACILITY => return Sender::Kernel,
        // Somebody wrote it into /dev/kmsg; the kernel does not let him call himself the kernel.
        "kernel" => return Sender::Untrusted,
        // What journald says itself.
        "driver" => {
            return Sender::Machine {
                identifier: "systemd-journald",
                unit: "systemd-journald.service",
            };
        }
        "journal" | "syslog" | "stdout" => {}
        _ => return Sender::Untrusted,
    }
    if fields.pid == "1" && fields.uid == "0" && fields.unit == "init.scope" {
        let unit = match fields.about_unit {
            "" => fields.unit,
            about => about,
        };
        return Sender::Machine {
            identifier: PID1_IDENTIFIER,
            unit,
        };
    }
    if !is_of_machine(fields) {
        return Sender::Untrusted;
    }
    let agrees = !fields.comm.is_empty() && cut(fields.identifier) == fields.comm;
    let name = if agrees {
        fields.identifier
    } else {
        fields.comm
    };
    let identifier = match name {
        PID1_IDENTIFIER => USER_MANAGER_IDENTIFIER,
        other => other,
    };
    Sender::Machine {
        identifier,
        unit: fields.unit,
    }
}

/// Whether the sender runs in a service of the machine, or as root in a session.
fn is_of_machine(fields: &SenderFields<'_>) -> bool {
    let is_service = fields.unit.ends_with(".service");
    let is_session = fields.unit.starts_with("session-") && fields.unit.ends_with(".scope");
    if fields.cgroup.is_empty() || !(is_service || is_session) {
        return false;
    }
    let mut steps = fields.cgroup.split('/').filter(|step| !step.is_empty());
    let is_users = steps.clone().any(|step| step == "user.slice");
    let is_container = steps.any(is_of_container);
    !is_container && (!is_users || fields.uid == "0")
}

/// Whether a step of a cgroup path belongs to a container or a virtual machine.
fn is_of_container(step: &str) -> bool {
    // containerd with a mixed-up driver makes `.../containerd.service/kubepods-pod1.slice:cri-containerd:ID`.
    step.contains("kubepods") || step.contains(':') || step == "machine.slice" || has_id(step)
}

fn has_id(step: &str) -> bool {
    step.split(|c: char| !c.is_ascii_hexdigit())
        .any(|run| run.len() >= ID_DIGITS)
}

/// The name as the kernel would cut it.
fn cut(name: &str) -> &str {
    match name.char_indices().nth(COMM_BYTES) {
        Some((end, _)) if name.is_ascii() => name.get(..end).unwrap_or(name),
        _ => name,
    }
}

/// How many lines journald says it dropped, in a line of its own.
pub fn dropped(transport: &str, n_dropped: &str, message: &str) -> u64 {
    if transport != "driver" {
        return 0;
    }
    // The field is there since 248; before, only the sentence is.
    n_dropped.parse().unwrap_or_else(|_| {
        message
            .strip_prefix("Suppressed ")
            .and_then(|rest| rest.split_once(" messages from "))
            .and_then(|(count, _)| count.parse().ok())
            .unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn judged(
        pid: &str,
        uid: &str,
        comm: &str,
        cgroup: &str,
        unit: &str,
        identifier: &str,
    ) -> String {
        let fields = SenderFields {
            transport: "journal",
            pid,
            uid,
            comm,
            cgroup,
            unit,
            about_unit: "about.service",
            identifier,
            facility: "0",
        };
        match sender(&fields) {
            Sender::Machine { identifier, unit } => format!("{identifier} of {unit}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn services_are_known_by_their_cgroup() {
        for (comm, cgroup, unit, identifier, expected) in [
            (
                "kubelet",
                "/system.slice/kubelet.service",
                "kubelet.service",
                "kubelet",
                "kubelet of kubelet.service",
            ),
            (
                "kubelet",
                "/runtime.slice/kubelet.service",
                "kubelet.service",
                "x",
                "kubelet of kubelet.service",
            ),
            (
                "systemd-network",
                "/system.slice/n.service",
                "n.service",
                "systemd-networkd",
                "systemd-networkd of n.service",
            ),
            (
                "cron",
                "/system.slice/cron.service",
                "cron.service",
                "systemd",
                "cron of cron.service",
            ),
            (
                "systemd",
                "/system.slice/cron.service",
                "cron.service",
                "systemd",
                "systemd-user of cron.service",
            ),
            (
                "",
                "/system.slice/cron.service",
                "cron.service",
                "systemd",
                " of cron.service",
            ),
            (
                "sshd",
                "/user.slice/user-0.slice/session-3.scope",
                "session-3.scope",
                "sshd",
                "sshd of session-3.scope",
            ),
            (
                "systemd",
                "/user.slice/user-0.slice/user@0.service/init.scope",
                "user@0.service",
                "systemd",
                "systemd-user of user@0.service",
            ),
        ] {
            assert_eq!(judged("77", "0", comm, cgroup, unit, identifier), expected);
        }
    }

    #[test]
    fn only_pid_1_in_its_own_scope_is_systemd() {
        assert_eq!(
            judged("1", "0", "systemd", "/init.scope", "init.scope", "any"),
            "systemd of about.service"
        );
        for (pid, uid, cgroup, unit) in [
            ("2", "0", "/init.scope", "init.scope"),
            ("1", "1000", "/init.scope", "init.scope"),
            ("1", "0", "", ""),
            ("", "", "", ""),
        ] {
            assert_eq!(
                judged(pid, uid, "systemd", cgroup, unit, "systemd"),
                "Untrusted"
            );
        }
    }

    #[test]
    fn containers_users_and_unknown_senders_are_not_believed() {
        let scope = format!("cri-containerd-{ID}.scope");
        let pod = format!("/kubepods.slice/kubepods-pod1.slice/{scope}");
        let docker = format!("/system.slice/docker-{ID}.scope");
        let mixed =
            format!("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}");
        let split = format!("/system.slice/web.service/libpod-payload-{ID}");
        let old_docker = format!("/docker/{ID}");
        for (uid, cgroup, unit) in [
            ("0", pod.as_str(), scope.as_str()),
            ("0", "/kubepods/burstable/pod1/abc", ""),
            ("0", docker.as_str(), "docker.scope"),
            ("0", mixed.as_str(), "containerd.service"),
            ("0", split.as_str(), "web.service"),
            ("0", old_docker.as_str(), ""),
            (
                "0",
                "/machine.slice/systemd-nspawn@n.service/payload",
                "systemd-nspawn@n.service",
            ),
            (
                "1000",
                "/user.slice/user-1000.slice/session-3.scope",
                "session-3.scope",
            ),
            (
                "1000",
                "/user.slice/user-1000.slice/user@1000.service/app.slice/kubelet.service",
                "user@1000.service",
            ),
            ("0", "/system.slice/x.scope", "x.scope"),
            ("0", "", "kubelet.service"),
            ("0", "/", ""),
            ("0", "", ""),
        ] {
            assert_eq!(
                judged("77", uid, "kubelet", cgroup, unit, "kubelet"),
                "Untrusted",
                "{cgroup}"
            );
        }
    }

    #[test]
    fn the_transport_decides_first() {
        let fields = |transport| SenderFields {
            transport,
            cgroup: "/system.slice/a.service",
            unit: "a.service",
            comm: "a",
            ..SenderFields::default()
        };
        for (facility, expected) in [
            ("0", Sender::Kernel),
            ("1", Sender::Untrusted),
            ("3", Sender::Untrusted),
            ("", Sender::Untrusted),
            ("00", Sender::Untrusted),
        ] {
            let line = SenderFields {
                facility,
                ..fields("kernel")
            };
            assert_eq!(sender(&line), expected, "facility {facility}");
        }
        for transport in ["", "audit", "new"] {
            assert_eq!(sender(&fields(transport)), Sender::Untrusted, "{transport}");
        }
        assert!(matches!(
            sender(&fields("driver")),
            Sender::Machine {
                identifier: "systemd-journald",
                ..
            }
        ));
    }

    #[test]
    fn lines_that_journald_dropped_are_counted() {
        for (transport, field, message, count) in [
            (
                "driver",
                "312",
                "Suppressed 312 messages from kubelet.service",
                312,
            ),
            (
                "driver",
                "",
                "Suppressed 12 messages from /system.slice/x.service",
                12,
            ),
            ("driver", "", "Journal started", 0),
            ("driver", "", "Suppressed many messages from x", 0),
            ("journal", "5", "Suppressed 5 messages from x", 0),
        ] {
            assert_eq!(dropped(transport, field, message), count, "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_container_ever_counts_as_the_machine(before in "(/[a-z.]{1,9}){0,3}", id in "[0-9a-f]{32,64}", comm in ".{0,16}", unit in "[a-z]{1,9}\\.service") {
            let cgroup = format!("{before}/x-{id}.scope");
            let fields = SenderFields { transport: "journal", pid: "7", uid: "0", comm: &comm, cgroup: &cgroup, unit: &unit, about_unit: "", identifier: "systemd", facility: "0" };
            prop_assert_eq!(sender(&fields), Sender::Untrusted);
        }
    }
}
