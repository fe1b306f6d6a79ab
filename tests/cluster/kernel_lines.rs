//! Lines of the kernel on a real node, where the agent's pod may not read `/dev/kmsg`: the host's journal stands in, and
//! nobody else speaks for the kernel.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Caller;
use crate::controlplane::ControlPlane;
use crate::flagship::{audit, node_with_agent, phase};
use crate::node::Node;
use crate::pods::image_of;
use crate::process::{throughout, until};

const RUNNING_WITHIN: Duration = Duration::from_secs(60);
/// The journal is read every 2 s, the signature is judged every second.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
const IGNORED_FOR: Duration = Duration::from_secs(15);
/// Says the line by every way that a container has, then waits for ever.
const LIAR: &str = r##"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
static void send_to(const char *path, const char *text) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    strncpy(to.sun_path, path, sizeof to.sun_path - 1);
    if (sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to, sizeof to) < 0) perror(path);
    close(fd);
}
int main(int argc, char **argv) {
    char text[999];
    const char *line = argc > 1 ? argv[1] : "no line";
    int ring = open("/dev/kmsg", O_WRONLY);
    snprintf(text, sizeof text, "<0>kernel: %s said=ring\n", line);
    if (ring < 0 || write(ring, text, strlen(text)) < 0) perror("/dev/kmsg");
    snprintf(text, sizeof text, "<0>kernel: %s said=syslog", line);
    send_to("/journal/dev-log", text);
    snprintf(text, sizeof text, "MESSAGE=%s said=native\nPRIORITY=0\nSYSLOG_IDENTIFIER=kernel\n"
        "SYSLOG_FACILITY=0\n_TRANSPORT=kernel\n", line);
    send_to("/journal/socket", text);
    printf("%s said=output\n", line);
    fflush(stdout);
    for (;;) pause();
}
"##;

#[test]
fn a_line_of_the_kernel_counts_in_a_pod_and_what_a_container_says_in_its_name_does_not() {
    let plane = ControlPlane::start_for_nodes("kernel");
    let images = plane.images();
    image_of(LIAR, &images, "localhost/liar:1", "liar");
    // A bridge of this test's own: the kernel says its name when its port goes down.
    let bridge = format!("nm{}", std::process::id());
    let files = [(
        "/var/lib/nodemend/signatures/lab-port-down.yaml",
        &*signature(&bridge),
    )];
    let config = "limits: { mode: auto, allow: restart }\nsignatures: { dir: /var/lib/nodemend/signatures }\n";
    let node = node_with_agent(&plane, 51, &images, config, &files);
    let admin = plane.admin();
    let page = metrics(&node);
    let page = page
        .lines()
        .filter(|line| line.starts_with("nodemend_signature_unknown") && line.ends_with(" 1"));
    eprintln!("unknown: {:?}", page.collect::<Vec<_>>());
    let logs = plane.kubectl(&["logs", "-n", "nodemend", "ds/nodemend"]);
    let logs = logs.expect("the agent's log");
    let said = logs.matches("the journal stands in").count();
    assert_eq!(said, 1, "{logs}");

    let line = format!("{bridge}: port 1(vx) entered disabled state");
    start_liar(&admin, node.name(), &line);
    until("the liar runs", RUNNING_WITHIN, || {
        phase(&admin, "liar") == "Running"
    });
    let ways = ["ring", "syslog", "native"].map(|way| format!("said={way}"));
    until("its lines are in the host's journal", SEEN_WITHIN, || {
        let journal = journal(&node, &line);
        ways.iter().all(|way| journal.contains(way.as_str()))
    });
    eprintln!("in the journal:\n{}", journal(&node, &line));
    throughout("no container is believed", IGNORED_FOR, || {
        opened(&node).is_empty()
    });

    let beaten = Beaten::new(&bridge);
    until("the kernel's own line opens a case", SEEN_WITHIN, || {
        !opened(&node).is_empty()
    });
    drop(beaten);
    let case = opened(&node).pop().expect("a case");
    let evidence = case["evidence"].to_string();
    assert!(
        evidence.contains(&bridge) && !evidence.contains("said="),
        "{case:#}"
    );
    eprintln!("{evidence}");
    let logs = plane.kubectl(&["logs", "-n", "nodemend", "ds/nodemend"]);
    let logs = logs.expect("the agent's log");
    assert_eq!(logs.matches("the journal stands in").count(), 1, "{logs}");
}

/// A bridge with a port that is up, then down: the kernel tells of it. Gone with this value.
struct Beaten<'a> {
    bridge: &'a str,
}

impl<'a> Beaten<'a> {
    fn new(bridge: &'a str) -> Self {
        let beaten = Self { bridge };
        let port = format!("{bridge}p");
        for arguments in [
            format!("link add {bridge} type bridge"),
            format!("link add {port} type veth peer name {bridge}q"),
            format!("link set {bridge} up"),
            format!("link set {port} master {bridge} up"),
            format!("link set {bridge}q up"),
            format!("link set {port} down"),
        ] {
            let status = Command::new("ip").args(arguments.split(' ')).status();
            assert!(status.expect("iproute2").success(), "ip {arguments}");
        }
        beaten
    }
}

impl Drop for Beaten<'_> {
    fn drop(&mut self) {
        for link in [format!("{}p", self.bridge), self.bridge.to_owned()] {
            // The network namespace ends with the test's thread in any case.
            Command::new("ip")
                .args(["link", "del", &link])
                .status()
                .ok();
        }
    }
}

/// What the agent on the node shows to Prometheus, on the node's own address.
fn metrics(node: &Node) -> String {
    let talk = "exec 3<>/dev/tcp/127.0.0.1/9797 && printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3";
    node.output(&["timeout", "20", "bash", "-c", talk])
}

fn opened(node: &Node) -> Vec<Value> {
    let mut records = audit(node);
    records.retain(|one| one["kind"] == "case-opened" && one["signature"] == "lab-port-down");
    records
}

fn journal(node: &Node, line: &str) -> String {
    let fields = "--output-fields=_TRANSPORT,SYSLOG_FACILITY,_SYSTEMD_UNIT,MESSAGE";
    let all = node.output(&[
        "journalctl",
        "--no-pager",
        "--output=json",
        fields,
        "--grep",
        "entered disabled state",
    ]);
    let ours = all.lines().filter(|entry| entry.contains(line));
    ours.collect::<Vec<_>>().join("\n")
}

fn signature(bridge: &str) -> String {
    format!(
        "id: lab-port-down\ntitle: A port of the lab went down\nseverity: low\nsubsystem: lab\nexplain: for the lab\n\
         log: {{ source: kernel, pattern: '^{bridge}: port .* entered disabled state' }}\ncount: 1 in 10m\nfor: 1 check\n\
         suggest: nothing\ncases:\n  - name: none\n    lines: [\"\"]\n    expect: absent\n"
    )
}

fn start_liar(admin: &Caller, node: &str, line: &str) {
    let journal = json!({ "name": "journal", "hostPath": { "path": "/run/systemd/journal" } });
    let mount = json!({ "name": "journal", "mountPath": "/journal" });
    let container = json!({ "name": "liar", "image": "localhost/liar:1", "args": [line],
        "volumeMounts": [mount], "securityContext": { "privileged": true } });
    let spec = json!({ "nodeName": node, "terminationGracePeriodSeconds": 0,
        "containers": [container], "volumes": [journal] });
    let pod = json!({ "metadata": { "name": "liar" }, "spec": spec });
    admin
        .create("/api/v1/namespaces/default/pods", &pod)
        .expect("create a pod");
}
