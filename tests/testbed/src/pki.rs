//! Who is who: an authority, one certificate, one key that signs service accounts, and a token for each user.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::layout::{self, API_SERVICE, CONTROL_PLANE, Layout};
use crate::command::{command, quietly};

const LIMIT: Duration = Duration::from_mins(1);

/// Writes keys, tokens, and a kubeconfig for the administrator and each node.
pub(super) fn write(layout: &Layout, nodes: u8) -> Result<()> {
    let names = format!(
        "subjectAltName=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
         IP:127.0.0.1,IP:{},IP:{API_SERVICE}",
        CONTROL_PLANE.v4()
    );
    // Nothing of the machine's own settings finds its way in.
    super::write(&layout.pki("openssl.cnf"), "[req]\ndistinguished_name=name\n[name]\n")?;
    certify(layout, "ca", &["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"], None)?;
    certify(layout, "api", &["basicConstraints=critical,CA:FALSE", &names], Some("ca"))?;
    let mut key = command("openssl");
    key.args(["genrsa", "-out"]).arg(layout.pki("accounts.key")).arg("2048");
    quietly("key of service accounts", &mut key, LIMIT)?;

    let mut users = vec![("admin".to_owned(), "admin".to_owned(), "system:masters".to_owned())];
    users.extend(
        layout::nodes(nodes).map(|node| {
            (format!("system:node:{}", node.name), node.name, "system:nodes".to_owned())
        }),
    );
    let mut tokens = String::new();
    for (user, file, group) in &users {
        let token = token()?;
        tokens.push_str(&[&token, user, user, group].map(String::as_str).join(","));
        tokens.push('\n');
        write_kubeconfig(layout, file, &token)?;
    }
    super::write(&layout.pki("tokens.csv"), tokens)
}

/// Makes a key and its certificate, signed by another one or by itself.
fn certify(layout: &Layout, name: &str, extensions: &[&str], by: Option<&str>) -> Result<()> {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
    let mut request = command("openssl");
    request.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj"]);
    request.arg(format!("/CN={name}")).arg("-config").arg(layout.pki("openssl.cnf"));
    request.arg("-keyout").arg(layout.pki(&key)).arg("-out").arg(layout.pki(&certificate));
    for extension in extensions {
        request.args(["-addext", extension]);
    }
    if let Some(by) = by {
        request.arg("-CA").arg(layout.pki(&format!("{by}.crt")));
        request.arg("-CAkey").arg(layout.pki(&format!("{by}.key")));
    }
    quietly(&format!("certificate {name}"), &mut request, LIMIT)
}

fn write_kubeconfig(layout: &Layout, who: &str, token: &str) -> Result<()> {
    let server = format!("https://{}:6443", CONTROL_PLANE.v4());
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "cluster",
        "clusters": [{"name": "cluster", "cluster": {"server": server, "certificate-authority": layout.pki("ca.crt")}}],
        "users": [{"name": who, "user": {"token": token}}],
        "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": who}}],
    });
    super::write(&layout.kubeconfig(who), config.to_string())
}

fn token() -> Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("no random number")?;
    Ok(uuid.trim().to_owned())
}
