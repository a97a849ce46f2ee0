//! libcni's cache of results: what each pod was given, one file a sandbox, written when all plugins
//! are through.
//!
//! kubelet publishes a pod's addresses only after its containers have started; this is earlier, but
//! later than the chained plugin.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use policy_cni::result::PluginResult;
use policy_core::model::ObjectName;
use serde::Deserialize;
use tokio::{
    sync::mpsc::{self, Receiver},
    time::timeout,
};

use super::{POD_INTERFACE, Sandbox, one_of_each_family};
use crate::watch::Watch;

/// How often the folder is looked at although nothing was told of it; it may not be there yet.
const LOOK: Duration = Duration::from_secs(10);

/// A file is no longer than this.
const LIMIT: u64 = 4 << 20;

/// A cached result (`cachedInfo` in libcni's `api.go`), as far as it is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cached {
    kind: String,
    if_name: String,
    #[serde(default)]
    cni_args: Vec<(String, String)>,
    #[serde(default)]
    result: PluginResult,
}

/// Tells the sandboxes of a folder whenever they are others, for as long as they are received.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
#[must_use]
pub fn follow(folder: PathBuf) -> Receiver<Vec<Sandbox>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut last = Vec::new();
        loop {
            let mut watch = Watch::open(&folder).ok();
            loop {
                let now = sandboxes(&folder);
                if now != last {
                    last.clone_from(&now);
                    if sender.send(now).await.is_err() {
                        return;
                    }
                }
                let Some(watch) = &mut watch else {
                    tokio::time::sleep(LOOK).await;
                    break;
                };
                if let Ok(Err(_)) = timeout(LOOK, watch.next()).await {
                    break;
                }
            }
        }
    });
    receiver
}

/// Sandboxes, one for each pod: the newest where there are several.
fn sandboxes(folder: &Path) -> Vec<Sandbox> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = files.filter_map(|file| {
        let about = file.metadata().ok().filter(|about| about.is_file() && about.len() <= LIMIT)?;
        Some((about.modified().ok()?, file.path()))
    });
    let mut files: Vec<_> = files.collect();
    files.sort();
    let mut newest = BTreeMap::new();
    for (_, path) in files {
        // One that is being written is told of again when it is whole.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if let Some(sandbox) = sandbox(&text) {
            newest.insert(sandbox.pod.clone(), sandbox);
        }
    }
    newest.into_values().collect()
}

/// The sandbox that a file speaks of; `None` where it is no pod's.
fn sandbox(text: &str) -> Option<Sandbox> {
    let Cached { kind, if_name, cni_args, result } = serde_json::from_str(text).ok()?;
    if kind != "cniCacheV1" || if_name != POD_INTERFACE {
        return None;
    }
    let of = |key: &str| {
        let value = cni_args.iter().rev().find(|(found, _)| found == key);
        value.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    let namespace = of("K8S_POD_NAMESPACE")?;
    let pod = ObjectName { namespace, name: of("K8S_POD_NAME")? };
    let addresses = one_of_each_family(result.addresses(&if_name));
    let host_interfaces = result.host_interfaces();
    let found = Sandbox { pod, uid: of("K8S_POD_UID"), addresses, host_interfaces };
    (!found.addresses.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As containerd 1.6 leaves it; `config` shortened.
    const FILE: &str = r#"{"kind":"cniCacheV1","containerId":"4f","config":"e30=","ifName":"eth0",
        "networkName":"net","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","shop"],
        ["K8S_POD_NAME","web-1"],["K8S_POD_INFRA_CONTAINER_ID","4f"],["K8S_POD_UID","u-1"]],
        "capabilityArgs":{"dns":{}},"result":{"cniVersion":"1.0.0","dns":{},
        "interfaces":[{"mac":"aa","name":"veth1"},{"mac":"bb","name":"eth0","sandbox":"/run/netns/a"}],
        "ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":1},
        {"address":"10.0.0.3/24","interface":1},{"address":"fd00::2/64","interface":1}],
        "routes":[]}}"#;

    #[test]
    fn the_newest_file_of_a_pod_counts_and_what_is_none_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("a file");
            // Files of one instant would be told apart by name.
            std::thread::sleep(Duration::from_millis(20));
        };
        write("net-9-eth0", &FILE.replace("u-1", "u-0"));
        write("net-1-eth0", FILE);
        write("net-2-net1", &FILE.replace("\"ifName\":\"eth0\"", "\"ifName\":\"net1\""));
        write("net-3-eth0", &FILE.replace("K8S_POD_NAME\"", "OTHER\""));
        write("net-4-eth0", &FILE.replace("V1", "V2"));
        write("net-5-eth0", &FILE[..200]);
        write("net-6-eth0", "");
        fs::create_dir(folder.path().join("folder")).expect("a folder");
        let found = sandboxes(folder.path());
        let pod = ObjectName { namespace: "shop".to_owned(), name: "web-1".to_owned() };
        let want = Sandbox {
            pod,
            uid: Some("u-1".to_owned()),
            addresses: vec![[10, 0, 0, 2].into(), "fd00::2".parse().expect("an address")],
            host_interfaces: vec!["veth1".to_owned()],
        };
        assert_eq!(found, [want]);
        assert_eq!(sandboxes(&folder.path().join("nothing")), []);
    }
}
