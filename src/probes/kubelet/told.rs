//! What a kubelet was told, by its command line and its configuration file. Pure.

use std::net::IpAddr;

/// As far as probes need it; `None`: it was not told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The socket of its runtime: a path.
    pub runtime: Option<String>,
    /// The address of its health check.
    pub address: Option<IpAddr>,
    /// The port of its health check; 0 switches it off.
    pub port: Option<u16>,
    /// Where it keeps its pods.
    pub home: Option<String>,
    /// Its configuration file.
    pub config: Option<String>,
    /// The directory of files that change its configuration.
    pub config_dir: Option<String>,
}

/// The flag, and the name of the same in a KubeletConfiguration (kubelet.config.k8s.io/v1beta1).
const NAMES: [(&str, &str); 6] = [
    ("container-runtime-endpoint", "containerRuntimeEndpoint"),
    ("healthz-bind-address", "healthzBindAddress"),
    ("healthz-port", "healthzPort"),
    ("root-dir", ""),
    ("config", ""),
    ("config-dir", ""),
];

impl Told {
    /// By a command line: `--flag=value` or `--flag value`.
    pub(super) fn by_arguments<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Told {
        let mut told = Told::default();
        let mut arguments = arguments.into_iter().peekable();
        while let Some(argument) = arguments.next() {
            let Some(flag) = argument.strip_prefix("--") else {
                continue;
            };
            match flag.split_once('=') {
                Some((flag, value)) => told.take(flag, value),
                None => {
                    let value = arguments.next_if(|next| !next.starts_with('-'));
                    told.take(flag, value.unwrap_or_default());
                }
            }
        }
        told
    }

    /// By a KubeletConfiguration, in JSON or with its keys at the beginning of a line of YAML.
    pub(super) fn by_file(text: &str) -> Told {
        let mut told = Told::default();
        if text.trim_start().starts_with('{') {
            let file: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            for (flag, name) in NAMES {
                match file.get(name) {
                    Some(serde_json::Value::String(value)) => told.take(flag, value),
                    Some(serde_json::Value::Number(value)) => told.take(flag, &value.to_string()),
                    _ => {}
                }
            }
            return told;
        }
        for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let value = value.split(" #").next().unwrap_or_default().trim();
            if let Some((flag, _)) = NAMES.iter().find(|(_, name)| *name == key) {
                told.take(flag, value.trim_matches(['"', '\'']));
            }
        }
        told
    }

    /// The same, and for what it does not say, `other`.
    pub(super) fn or(self, other: Told) -> Told {
        Told {
            runtime: self.runtime.or(other.runtime),
            address: self.address.or(other.address),
            port: self.port.or(other.port),
            home: self.home.or(other.home),
            config: self.config.or(other.config),
            config_dir: self.config_dir.or(other.config_dir),
        }
    }

    fn take(&mut self, flag: &str, value: &str) {
        let path = || value.starts_with('/').then(|| value.to_owned());
        match flag {
            "container-runtime-endpoint" => self.runtime = socket(value),
            "healthz-bind-address" => self.address = value.parse().ok(),
            "healthz-port" => self.port = value.parse().ok(),
            "root-dir" => self.home = path(),
            "config" => self.config = path(),
            "config-dir" => self.config_dir = path(),
            _ => {}
        }
    }
}

/// The path of a Unix socket, in the spelling of this program's tables.
fn socket(endpoint: &str) -> Option<String> {
    let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
    let path = path
        .strip_prefix("/var")
        .filter(|rest| rest.starts_with("/run/"))
        .unwrap_or(path);
    path.starts_with('/').then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::Told;
    use proptest::prelude::{any, prop, proptest};

    proptest! {
        #[test]
        fn no_text_upsets_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let text = String::from_utf8_lossy(&bytes);
            Told::by_file(&text);
            Told::by_arguments(text.split([' ', '\0']));
        }
    }

    fn told(runtime: &str, port: Option<u16>) -> Told {
        Told {
            runtime: (!runtime.is_empty()).then(|| runtime.to_owned()),
            port,
            ..Told::default()
        }
    }

    #[test]
    fn command_lines_are_read_as_kubelet_reads_them() {
        let words = |line: &str| {
            let mut told = Told::by_arguments(line.split(' '));
            let config = (told.config.take(), told.config_dir.take(), told.home.take());
            (told, config)
        };
        // kubeadm 1.34: /proc/PID/cmdline.
        let (kubeadm, config) = words(
            "/usr/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml --container-runtime-endpoint=unix:///var/run/containerd/containerd.sock",
        );
        assert_eq!(kubeadm, told("/run/containerd/containerd.sock", None));
        assert_eq!(config.0.as_deref(), Some("/var/lib/kubelet/config.yaml"));
        for (line, expected) in [
            (
                "kubelet --container-runtime-endpoint unix:///run/crio/crio.sock -v 2",
                told("/run/crio/crio.sock", None),
            ),
            (
                "kubelet --container-runtime-endpoint=/run/cri-dockerd.sock --healthz-port=0",
                told("/run/cri-dockerd.sock", Some(0)),
            ),
            // An endpoint that is no Unix socket, a flag without its value, a number that is none.
            (
                "kubelet --container-runtime-endpoint=tcp://127.0.0.1:1",
                Told::default(),
            ),
            (
                "kubelet --container-runtime-endpoint --healthz-port=70000",
                Told::default(),
            ),
            ("kubelet --healthz-port", Told::default()),
            ("", Told::default()),
        ] {
            assert_eq!(words(line).0, expected, "{line}");
        }
    }

    #[test]
    fn configuration_files_are_read_in_yaml_and_json() {
        for text in [
            "kind: KubeletConfiguration\nhealthzPort: 10300 # moved\ncontainerRuntimeEndpoint: \"unix:///run/crio/crio.sock\"\nlogging:\n  healthzPort: 1\n",
            "{\"kind\":\"KubeletConfiguration\",\"healthzPort\":10300,\"containerRuntimeEndpoint\":\"unix:///run/crio/crio.sock\"}",
        ] {
            assert_eq!(
                Told::by_file(text),
                told("/run/crio/crio.sock", Some(10_300)),
                "{text}"
            );
        }
        for text in [
            "",
            "{",
            "{\"healthzPort\":[]}",
            "healthzPort\n",
            "\u{0}:\u{0}",
        ] {
            assert_eq!(Told::by_file(text), Told::default(), "{text}");
        }
        let address = Told::by_file("healthzBindAddress: 0.0.0.0\n").address;
        assert_eq!(address, Some(std::net::IpAddr::from([0, 0, 0, 0])));
    }
}
