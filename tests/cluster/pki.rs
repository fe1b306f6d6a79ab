//! Certificates, kubeconfigs and the service accounts' signing key, made anew for each test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// A certificate authority with everything that it signed, in one directory.
pub struct Pki {
    dir: PathBuf,
    server: String,
}

impl Pki {
    /// A new authority; `server` is the API server's address as its clients use it, and
    /// `addresses` are the IPs on which it is reached.
    pub fn new(dir: PathBuf, server: &str, addresses: &[&str]) -> Self {
        fs::create_dir_all(&dir).expect("the lab's directory can be written");
        let pki = Self {
            dir,
            server: server.to_owned(),
        };
        pki.key("ca");
        pki.openssl("req -x509 -new -key ca.key -subj /CN=lab-ca -days 30 -out ca.crt");
        pki.openssl("genrsa -out sa.key 2048");
        let names: Vec<String> = addresses
            .iter()
            .map(|address| format!("IP:{address}"))
            .collect();
        let names = format!("{},DNS:kubernetes.default.svc", names.join(","));
        pki.sign("apiserver", "kube-apiserver", "lab", Some(&names));
        for (name, user, group) in [
            ("admin", "admin", "system:masters"),
            ("kcm", "system:kube-controller-manager", "lab"),
            ("scheduler", "system:kube-scheduler", "lab"),
        ] {
            pki.user(name, user, group);
        }
        pki
    }

    /// A client certificate and the kubeconfig that uses it.
    pub fn user(&self, name: &str, user: &str, group: &str) {
        self.sign(name, user, group, None);
        self.write_kubeconfig(name);
    }

    /// The kubelet of `node`: its client identity, and its serving certificate for `address`.
    pub fn kubelet(&self, node: &str, address: &str) {
        let names = format!("DNS:{node},IP:{address}");
        self.sign(
            node,
            &format!("system:node:{node}"),
            "system:nodes",
            Some(&names),
        );
        self.write_kubeconfig(node);
    }

    /// The file `name` of this authority.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The kubeconfig of `name`, as text.
    pub fn kubeconfig(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.kubeconfig"))).expect("that user exists")
    }

    /// A kubeconfig that authenticates by bearer token.
    pub fn token_kubeconfig(&self, token: &str) -> String {
        self.document(&json!({ "token": token }), "nodemend")
    }

    /// The same for a way to the server that begins at `url`, whatever name the server's certificate has there.
    pub fn relayed_kubeconfig(&self, token: &str, url: &str) -> String {
        let text = self.token_kubeconfig(token);
        let mut document: Value = serde_json::from_str(&text).expect("our kubeconfigs are JSON");
        let cluster = &mut document["clusters"][0]["cluster"];
        cluster["server"] = json!(url);
        cluster["tls-server-name"] = json!("kubernetes.default.svc");
        document.to_string()
    }

    /// A token signed by the cluster's own key, with the claims of the genuine `token` and an end
    /// of validity `ago` in the past.
    pub fn expired(&self, token: &str, ago: Duration) -> String {
        let mut parts = token.split('.');
        let header = parts.next().expect("a JWT");
        let mut claims = claims(token);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let end = (now - ago).as_secs();
        claims["exp"] = json!(end);
        claims["iat"] = json!(end - 600);
        claims["nbf"] = json!(end - 600);
        let signed = format!("{header}.{}", base64url(claims.to_string().as_bytes()));
        fs::write(self.path("jwt"), &signed).expect("the lab's directory can be written");
        self.openssl("dgst -sha256 -sign sa.key -out jwt.sig jwt");
        let signature = fs::read(self.path("jwt.sig")).expect("openssl wrote it");
        format!("{signed}.{}", base64url(&signature))
    }

    fn key(&self, name: &str) {
        self.openssl(&format!(
            "ecparam -name prime256v1 -genkey -noout -out {name}.key"
        ));
    }

    fn sign(&self, name: &str, user: &str, group: &str, names: Option<&str>) {
        self.key(name);
        let mut extensions = "extendedKeyUsage=clientAuth,serverAuth\n".to_owned();
        if let Some(names) = names {
            extensions.push_str(&format!("subjectAltName={names}\n"));
        }
        fs::write(self.path(&format!("{name}.ext")), extensions).expect("a writable directory");
        self.openssl(&format!(
            "req -new -key {name}.key -subj /O={group}/CN={user} -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 \
             -extfile {name}.ext -out {name}.crt"
        ));
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&self.dir)
            .output()
            .expect("openssl is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {errors}");
    }

    fn write_kubeconfig(&self, name: &str) {
        let user = json!({
            "client-certificate": self.path(&format!("{name}.crt")),
            "client-key": self.path(&format!("{name}.key")),
        });
        let text = self.document(&user, "default");
        fs::write(self.path(&format!("{name}.kubeconfig")), text).expect("a writable directory");
    }

    fn document(&self, user: &Value, namespace: &str) -> String {
        let context = json!({ "cluster": "lab", "user": "lab", "namespace": namespace });
        let cluster =
            json!({ "server": self.server, "certificate-authority": self.path("ca.crt") });
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{ "name": "lab", "cluster": cluster }],
            "users": [{ "name": "lab", "user": user }],
            "contexts": [{ "name": "lab", "context": context }],
        })
        .to_string()
    }
}

/// What a token says about its bearer.
pub fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&base64url_decode(claims)).expect("claims are JSON")
}

/// A file of a kubeconfig whose keys lie beside it, made self-contained for another file system.
pub fn inline(kubeconfig: &str) -> String {
    let mut document: Value = serde_json::from_str(kubeconfig).expect("our kubeconfigs are JSON");
    for (list, section) in [("clusters", "cluster"), ("users", "user")] {
        let section = document[list][0][section]
            .as_object_mut()
            .expect("an object");
        for key in ["certificate-authority", "client-certificate", "client-key"] {
            if let Some(path) = section.remove(key) {
                let file = fs::read(Path::new(path.as_str().expect("a path"))).expect("a PEM file");
                section.insert(format!("{key}-data"), json!(base64(&file)));
            }
        }
    }
    document.to_string()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0_u8; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for position in 0..4 {
            let index = (bits >> (18 - 6 * position)) & 63;
            let letter = char::from(ALPHABET[index as usize]);
            text.push(if position <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

fn base64url(bytes: &[u8]) -> String {
    base64(bytes)
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

fn base64url_decode(text: &str) -> Vec<u8> {
    let text = text.replace('-', "+").replace('_', "/");
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes() {
        let index = ALPHABET
            .iter()
            .position(|known| *known == letter)
            .expect("base64url");
        bits = (bits << 6) | u32::try_from(index).expect("below 64");
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 255).expect("eight bits"));
        }
    }
    bytes
}
