//! `policy-agent detach` of what the chained plugin needs on a node, as the node has it (S47).

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
    process::{Command, Output},
};

use anyhow::{Result, ensure};
use tempfile::TempDir;

const WITHOUT: &str = r#"{"cniVersion": "1.0.0", "plugins": [{"type": "ptp"}]}"#;
const WITH: &str = r#"{"cniVersion": "1.0.0", "plugins": [{"type": "ptp"}, {"type": "policy-cni", "fail": "closed"}]}"#;

/// A node's root folder, with files and the folders above them.
fn node(files: &[(&str, &str)]) -> Result<TempDir> {
    let root = tempfile::tempdir()?;
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(root.path()))?;
        fs::write(path, text)?;
    }
    Ok(root)
}

fn detach(root: &Path) -> Result<Output> {
    let mut detach = Command::new(env!("CARGO_BIN_EXE_policy-agent"));
    detach.arg("detach").arg("--pin-dir").arg(root.join("no/pins")).arg("--root").arg(root);
    Ok(detach.output()?)
}

/// Everything below a folder.
fn all(root: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            found.insert(path.strip_prefix(root)?.to_string_lossy().into_owned());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(found)
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// A node on which an agent with the plugin has ended, beside the files of others.
fn installed_node() -> Result<TempDir> {
    let root = node(&[
        ("etc/cni/net.d/10-net.conflist", WITH),
        ("etc/cni/net.d/05-other.conflist", WITHOUT),
        ("etc/cni/net.d/99-loopback.conf", "{\"cniVersion\": \"0.2.0\", \"type\": \"loopback\"}"),
        ("etc/cni/net.d/.10-net.conflist.policy-cni-new", "{"),
        ("etc/cni/net.d/.other", "{"),
        ("var/linked.conflist", WITH),
        ("usr/lib/plugins/policy-cni", ""),
        ("usr/lib/plugins/.policy-cni.policy-cni-new", ""),
        ("usr/lib/plugins/ptp", ""),
        ("run/others", ""),
        ("opt/none", ""),
    ])?;
    let path = root.path();
    fs::create_dir(path.join("run/policy-agent"))?;
    // As the node itself sees them.
    symlink("/var/linked.conflist", path.join("etc/cni/net.d/20-linked.conflist"))?;
    symlink("/nowhere", path.join("etc/cni/net.d/30-nowhere.conflist"))?;
    fs::create_dir(path.join("opt/cni"))?;
    symlink("/usr/lib/plugins", path.join("opt/cni/bin"))?;
    drop(UnixListener::bind(path.join("run/policy-agent/cni.sock"))?);
    Ok(root)
}

/// What `detach` leaves of [`installed_node`].
const LEFT: &[&str] = &[
    "etc",
    "etc/cni",
    "etc/cni/net.d",
    "etc/cni/net.d/.other",
    "etc/cni/net.d/05-other.conflist",
    "etc/cni/net.d/10-net.conflist",
    "etc/cni/net.d/20-linked.conflist",
    "etc/cni/net.d/30-nowhere.conflist",
    "etc/cni/net.d/99-loopback.conf",
    "opt",
    "opt/cni",
    "opt/cni/bin",
    "opt/none",
    "run",
    "run/others",
    "usr",
    "usr/lib",
    "usr/lib/plugins",
    "usr/lib/plugins/ptp",
    "var",
    "var/linked.conflist",
];

#[test]
fn what_the_plugin_needed_goes_wherever_the_nodes_links_lead() -> Result<()> {
    let root = installed_node()?;
    let path = root.path();
    let done = detach(path)?;
    ensure!(done.status.success(), "{done:?}");
    let text = |name: &str| fs::read_to_string(path.join(name));
    for name in
        ["etc/cni/net.d/10-net.conflist", "etc/cni/net.d/05-other.conflist", "var/linked.conflist"]
    {
        assert_eq!(text(name)?, WITHOUT, "{name}");
    }
    ensure!(
        path.join("etc/cni/net.d/20-linked.conflist").is_symlink(),
        "the link was replaced by a file"
    );
    let left = names(LEFT);
    assert_eq!(all(path)?, left);
    // Once more, and where nothing ever was: nothing is made.
    ensure!(detach(path)?.status.success() && all(path)? == left);
    let empty = node(&[])?;
    let done = detach(empty.path())?;
    ensure!(done.status.success(), "{done:?}");
    assert_eq!(all(empty.path())?, names(&[]));
    Ok(())
}

#[test]
fn what_others_have_beside_the_socket_stays() -> Result<()> {
    let root = node(&[("run/policy-agent/theirs", "")])?;
    drop(UnixListener::bind(root.path().join("run/policy-agent/cni.sock"))?);
    ensure!(detach(root.path())?.status.success());
    assert_eq!(all(root.path())?, names(&["run", "run/policy-agent", "run/policy-agent/theirs"]));
    // A file that is no socket is not the agent's.
    fs::write(root.path().join("run/policy-agent/cni.sock"), "")?;
    ensure!(detach(root.path())?.status.success());
    ensure!(root.path().join("run/policy-agent/cni.sock").exists());
    Ok(())
}

#[test]
fn what_an_agent_that_runs_needs_stays() -> Result<()> {
    let files = [("etc/cni/net.d/10-net.conflist", WITH), ("opt/cni/bin/policy-cni", "")];
    let root = node(&[files[0], files[1], ("run/policy-agent/theirs", "")])?;
    let socket = root.path().join("run/policy-agent/cni.sock");
    let agent = UnixListener::bind(&socket)?;
    let before = all(root.path())?;
    let refused = detach(root.path())?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    ensure!(said.contains("an agent answers at /run/policy-agent/cni.sock"), "{said}");
    assert_eq!(all(root.path())?, before);
    assert_eq!(fs::read_to_string(root.path().join(files[0].0))?, WITH);
    drop(agent);
    ensure!(detach(root.path())?.status.success() && !socket.exists());
    Ok(())
}

#[test]
fn what_multus_delegates_to_and_what_only_mentions_the_plugin_hold_nothing_up() -> Result<()> {
    let multus = |list: &str| format!(r#"{{"type": "multus", "delegates": [{list}]}}"#);
    let mention = r#"{"cniVersion": "0.3.1", "type": "ptp", "note": "policy-cni"}"#;
    let root = node(&[
        ("etc/cni/net.d/00-multus.conf", &multus(WITH)),
        ("etc/cni/net.d/10-net.conflist", WITH),
        ("etc/cni/net.d/20-ptp.conf", mention),
        ("opt/cni/bin/policy-cni", ""),
    ])?;
    let done = detach(root.path())?;
    ensure!(done.status.success(), "{done:?}");
    let text = |name: &str| fs::read_to_string(root.path().join("etc/cni/net.d").join(name));
    assert_eq!(text("00-multus.conf")?, multus(WITHOUT));
    assert_eq!(text("10-net.conflist")?, WITHOUT);
    assert_eq!(text("20-ptp.conf")?, mention);
    ensure!(!root.path().join("opt/cni/bin/policy-cni").exists(), "the program is left");
    Ok(())
}

#[test]
fn the_program_stays_for_as_long_as_half_a_list_names_it() -> Result<()> {
    let half = WITH.split_at(WITH.len() - 9).0;
    let files = [("etc/cni/net.d/10-net.conflist", half), ("opt/cni/bin/policy-cni", "")];
    let root = node(&[files[0], files[1], ("etc/cni/net.d/20-whole.conflist", WITH)])?;
    let refused = detach(root.path())?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    ensure!(said.contains("10-net.conflist"), "{said}");
    let at = |name: &str| root.path().join(name);
    ensure!(at("opt/cni/bin/policy-cni").exists(), "the program is gone");
    assert_eq!(fs::read_to_string(at("etc/cni/net.d/20-whole.conflist"))?, WITHOUT);
    fs::write(at("etc/cni/net.d/10-net.conflist"), WITH)?;
    let done = detach(root.path())?;
    ensure!(done.status.success() && !at("opt/cni/bin/policy-cni").exists(), "{done:?}");
    // Half of a list that does not name it needs nothing.
    fs::write(at("etc/cni/net.d/10-net.conflist"), "{\"cniVersion\": \"1.0.0\", \"plug")?;
    ensure!(detach(root.path())?.status.success());
    Ok(())
}
