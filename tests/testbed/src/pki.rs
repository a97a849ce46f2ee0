//! Who is who in a cluster: an authority, the API server's certificate, the key that signs tokens of
//! service accounts, and a token for each user.
//!
//! Everything lies in the cluster's own folder and ends with it.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;

use super::layout::{self, API_SERVICE, CONTROL_PLANE, Layout};

/// Names under which clients reach the API server.
const SERVER_NAMES: [&str; 5] =
    ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "127.0.0.1", API_SERVICE];

/// Writes keys, certificates, tokens, and a kubeconfig for the administrator and each node.
pub(super) fn write(layout: &Layout, nodes: u8) -> Result<()> {
    certificates(layout)?;
    let accounts = KeyPair::generate()?;
    super::write(&layout.pki("accounts.key"), accounts.serialize_pem())?;
    super::write(&layout.pki("accounts.pub"), accounts.public_key_pem())?;

    let mut users = vec![("admin".to_owned(), "admin".to_owned(), "system:masters")];
    users.extend(
        layout::nodes(nodes)
            .map(|node| (format!("system:node:{}", node.name), node.name, "system:nodes")),
    );
    let mut tokens = Vec::new();
    for (user, file, group) in &users {
        let token = token();
        // The columns of a static token file: token, user name, user id, groups.
        tokens.push(format!("{token},{user},{user},{group}\n"));
        write_kubeconfig(layout, file, &token)?;
    }
    super::write(&layout.pki("tokens.csv"), tokens.concat())
}

/// Writes the authority's certificate, and the API server's, which it signs.
fn certificates(layout: &Layout) -> Result<()> {
    let mut authority = named("ca", &[])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate()?;
    super::write(&layout.pki("ca.crt"), authority.self_signed(&key)?.pem())?;
    let authority = Issuer::new(authority, key);

    let names = SERVER_NAMES.map(str::to_owned);
    let server = named("api", &[&names[..], &[CONTROL_PLANE.v4()]].concat())?;
    let key = KeyPair::generate()?;
    super::write(&layout.pki("api.crt"), server.signed_by(&key, &authority)?.pem())?;
    super::write(&layout.pki("api.key"), key.serialize_pem())
}

/// A certificate to be, for host names and addresses.
fn named(name: &str, hosts: &[String]) -> Result<CertificateParams> {
    let mut certificate = CertificateParams::new(hosts)?;
    certificate.distinguished_name.push(DnType::CommonName, name);
    Ok(certificate)
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

/// A password for the time of a test; its clusters are reachable from this machine alone.
fn token() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::write;
    use crate::layout::Layout;

    #[test]
    fn every_user_has_a_kubeconfig_with_its_token() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let layout = Layout { root: folder.path().to_path_buf(), prefix: String::new() };
        write(&layout, 2)?;
        let tokens = std::fs::read_to_string(layout.pki("tokens.csv"))?;
        for (who, line) in ["admin", "node1", "node2"].iter().zip(tokens.lines()) {
            let (token, _) = line.split_once(',').unwrap_or_default();
            assert_eq!(token.len(), 32);
            let kubeconfig = std::fs::read_to_string(layout.kubeconfig(who))?;
            assert!(kubeconfig.contains(token), "{who}");
        }
        assert_eq!(tokens.lines().count(), 3);
        Ok(())
    }
}
