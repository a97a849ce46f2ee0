//! libcni's cache of results: what each pod was given, one file a sandbox, written when all plugins
//! are through.
//!
//! kubelet publishes a pod's addresses only after its containers have started; this is earlier, but
//! later than the chained plugin.

use std::{
    collections::BTreeMap,
    fs::{self, DirEntry},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use policy_cni::result::PluginResult;
use policy_core::model::ObjectName;
use serde::Deserialize;
use tokio::{
    sync::mpsc::{self, Receiver},
    task,
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
/// Files are read on a thread of its own: a disk may be slow.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
#[must_use]
pub fn follow(folder: PathBuf) -> Receiver<Vec<Sandbox>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let (mut last, mut seen) = (Vec::new(), Seen::default());
        loop {
            let mut watch = Watch::open(&folder).ok();
            loop {
                let (folder, before) = (folder.clone(), seen);
                let looked = task::spawn_blocking(move || before.look(&folder)).await;
                // The runtime ends.
                let Ok(after) = looked else { return };
                seen = after;
                let now = seen.sandboxes();
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

/// Files of a folder as they were read.
#[derive(Debug, Default)]
struct Seen(BTreeMap<PathBuf, File>);

/// One of them, and what it speaks of.
#[derive(Debug)]
struct File {
    mark: Mark,
    sandbox: Option<Sandbox>,
}

/// What is another where a file was written: when that was, its number, its length.
type Mark = (SystemTime, u64, u64);

impl Seen {
    /// As the folder is now: what is marked as before is not read again, for each of many pods that
    /// start at once is a look.
    fn look(mut self, folder: &Path) -> Self {
        let found = fs::read_dir(folder).into_iter().flatten().flatten();
        let found = found.filter_map(|entry| {
            let mark = mark(&entry)?;
            let path = entry.path();
            if let Some(file) = self.0.remove(&path).filter(|file| file.mark == mark) {
                return Some((path, file));
            }
            // One that is being written is told of again when it is whole.
            let text = fs::read_to_string(&path).ok()?;
            Some((path, File { mark, sandbox: sandbox(&text) }))
        });
        Self(found.collect())
    }

    /// Sandboxes, one for each pod: the newest where there are several.
    fn sandboxes(&self) -> Vec<Sandbox> {
        let mut files: Vec<_> = self.0.iter().collect();
        files.sort_by_key(|(path, file)| (file.mark.0, *path));
        let sandboxes = files.into_iter().filter_map(|(_, file)| file.sandbox.as_ref());
        let newest: BTreeMap<_, _> = sandboxes.map(|sandbox| (&sandbox.pod, sandbox)).collect();
        newest.into_values().cloned().collect()
    }
}

/// The mark of a file that may be a cached result.
fn mark(entry: &DirEntry) -> Option<Mark> {
    let about = entry.metadata().ok()?;
    let is_one = about.is_file() && about.len() <= LIMIT;
    is_one.then(|| Some((about.modified().ok()?, about.ino(), about.len())))?
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
        let seen = Seen::default().look(folder.path());
        let pod = ObjectName { namespace: "shop".to_owned(), name: "web-1".to_owned() };
        let want = Sandbox {
            pod,
            uid: Some("u-1".to_owned()),
            addresses: vec![[10, 0, 0, 2].into(), "fd00::2".parse().expect("an address")],
            host_interfaces: vec!["veth1".to_owned()],
        };
        assert_eq!(seen.sandboxes(), [want]);
        let seen = seen.look(&folder.path().join("nothing"));
        assert_eq!(seen.sandboxes(), []);
    }

    #[test]
    fn only_what_was_written_since_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("net-1-eth0");
        let write = |text: &str, time: SystemTime| {
            fs::write(&path, text).expect("a file");
            let file = fs::File::options().write(true).open(&path).expect("it is there");
            file.set_modified(time).expect("a time");
        };
        let uids = |seen: &Seen| -> Vec<_> {
            seen.sandboxes().into_iter().filter_map(|sandbox| sandbox.uid).collect()
        };
        let time = SystemTime::now();
        write(FILE, time);
        let seen = Seen::default().look(folder.path());
        assert_eq!(uids(&seen), ["u-1"]);
        write(&FILE.replace("u-1", "u-2"), time);
        let seen = seen.look(folder.path());
        assert_eq!(uids(&seen), ["u-1"], "it was read again");
        write(&FILE.replace("u-1", "u-30"), time);
        let seen = seen.look(folder.path());
        assert_eq!(uids(&seen), ["u-30"], "its length is another");
        write(&FILE.replace("u-1", "u-40"), time + Duration::from_secs(1));
        let seen = seen.look(folder.path());
        assert_eq!(uids(&seen), ["u-40"], "its time is another");
        fs::remove_file(&path).expect("it is there");
        assert_eq!(uids(&seen.look(folder.path())).len(), 0);
    }
}
