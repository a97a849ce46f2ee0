//! libcni's cache of results (`/var/lib/cni/results`): one file per sandbox, written when all plugins
//! have run.
//!
//! kubelet publishes a pod's addresses only after its containers have started. The cache has them
//! earlier, though later than the chained plugin reports them. It is read only, and a file that cannot
//! be decoded is ignored.

use std::{
    collections::BTreeMap,
    fs::{self, DirEntry},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use policy_cni::result::PluginResult;
use policy_core::{intent::Sandbox, model::ObjectName};
use serde::Deserialize;
use tokio::{
    sync::mpsc::{self, Receiver},
    task,
    time::timeout,
};

use super::{POD_INTERFACE, one_of_each_family};
use crate::inotify::FolderWatch;

/// How often the folder is read without a notification; it may not exist yet.
const READ_INTERVAL: Duration = Duration::from_secs(10);

/// Longest file, in bytes.
const MAX_LENGTH: u64 = 4 << 20;

/// The used part of a cached result (`cachedInfo` in libcni's `api.go`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CachedResult {
    kind: String,
    if_name: String,
    #[serde(default)]
    cni_args: Vec<(String, String)>,
    #[serde(default)]
    result: PluginResult,
}

/// Sends the sandboxes in a folder whenever they change, for as long as the receiver lives. Files are
/// read on another thread, because a disk may be slow.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
#[must_use]
pub fn follow_cache(folder: PathBuf) -> Receiver<Vec<Sandbox>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let (mut last, mut files) = (Vec::new(), CachedFiles::default());
        loop {
            let mut watch = FolderWatch::open(&folder).ok();
            loop {
                let (folder, before) = (folder.clone(), files);
                let read = task::spawn_blocking(move || before.read(&folder)).await;
                // The tokio runtime is shutting down.
                let Ok(after) = read else { return };
                files = after;
                let sandboxes = files.sandboxes();
                if sandboxes != last {
                    last.clone_from(&sandboxes);
                    if sender.send(sandboxes).await.is_err() {
                        return;
                    }
                }
                let Some(watch) = &mut watch else {
                    tokio::time::sleep(READ_INTERVAL).await;
                    break;
                };
                if let Ok(Err(_)) = timeout(READ_INTERVAL, watch.next()).await {
                    break;
                }
            }
        }
    });
    receiver
}

/// The files of a folder, by path.
#[derive(Debug, Default)]
struct CachedFiles(BTreeMap<PathBuf, CachedFile>);

/// A file as it was read last.
#[derive(Debug)]
struct CachedFile {
    version: FileVersion,
    /// `None` where it is not the result of a pod.
    sandbox: Option<Sandbox>,
}

/// Modification time, inode and length: at least one differs after a file was rewritten.
type FileVersion = (SystemTime, u64, u64);

impl CachedFiles {
    /// Reads the folder. A file of a known version is not opened: when many pods start at once, each
    /// of them causes a read.
    fn read(mut self, folder: &Path) -> Self {
        let found = fs::read_dir(folder).into_iter().flatten().flatten();
        let found = found.filter_map(|entry| {
            let version = version(&entry)?;
            let path = entry.path();
            if let Some(file) = self.0.remove(&path).filter(|file| file.version == version) {
                return Some((path, file));
            }
            // A file that is still being written causes another notification when it is complete.
            let text = fs::read_to_string(&path).ok()?;
            Some((path, CachedFile { version, sandbox: sandbox(&text) }))
        });
        Self(found.collect())
    }

    /// The newest sandbox of each pod, by name and UID; the newest of all is last.
    fn sandboxes(&self) -> Vec<Sandbox> {
        let mut files: Vec<_> = self.0.iter().collect();
        files.sort_by_key(|(path, file)| (file.version.0, *path));
        let sandboxes = files.into_iter().filter_map(|(_, file)| file.sandbox.as_ref());
        let mut newest = Vec::<Sandbox>::new();
        for sandbox in sandboxes {
            newest.retain(|other| (&other.pod, &other.uid) != (&sandbox.pod, &sandbox.uid));
            newest.push(sandbox.clone());
        }
        newest
    }
}

/// The version of a file; `None` for what cannot be a cached result.
fn version(entry: &DirEntry) -> Option<FileVersion> {
    let about = entry.metadata().ok()?;
    let is_one = about.is_file() && about.len() <= MAX_LENGTH;
    is_one.then(|| Some((about.modified().ok()?, about.ino(), about.len())))?
}

/// The sandbox in a file; `None` where it is not the result of a pod's own interface.
fn sandbox(text: &str) -> Option<Sandbox> {
    let CachedResult { kind, if_name, cni_args, result } = serde_json::from_str(text).ok()?;
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

    /// As containerd 1.6 writes it; `config` is shortened.
    const FILE: &str = r#"{"kind":"cniCacheV1","containerId":"4f","config":"e30=","ifName":"eth0",
        "networkName":"net","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","shop"],
        ["K8S_POD_NAME","web-1"],["K8S_POD_INFRA_CONTAINER_ID","4f"],["K8S_POD_UID","u-1"]],
        "capabilityArgs":{"dns":{}},"result":{"cniVersion":"1.0.0","dns":{},
        "interfaces":[{"mac":"aa","name":"veth1"},{"mac":"bb","name":"eth0","sandbox":"/run/netns/a"}],
        "ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":1},
        {"address":"10.0.0.3/24","interface":1},{"address":"fd00::2/64","interface":1}],
        "routes":[]}}"#;

    #[test]
    fn the_newest_file_of_each_uid_counts_and_other_files_are_ignored() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("a file");
            // Files with the same modification time are ordered by name.
            std::thread::sleep(Duration::from_millis(20));
        };
        write("net-9-eth0", &FILE.replace("u-1", "u-0"));
        write("net-8-eth0", &FILE.replace("10.0.0.2", "10.0.0.9"));
        write("net-1-eth0", FILE);
        write("net-2-net1", &FILE.replace("\"ifName\":\"eth0\"", "\"ifName\":\"net1\""));
        write("net-3-eth0", &FILE.replace("K8S_POD_NAME\"", "OTHER\""));
        write("net-4-eth0", &FILE.replace("V1", "V2"));
        write("net-5-eth0", &FILE[..200]);
        write("net-6-eth0", "");
        fs::create_dir(folder.path().join("folder")).expect("a folder");
        let seen = CachedFiles::default().read(folder.path());
        let pod = ObjectName { namespace: "shop".to_owned(), name: "web-1".to_owned() };
        let want = Sandbox {
            pod,
            uid: Some("u-1".to_owned()),
            addresses: vec![[10, 0, 0, 2].into(), "fd00::2".parse().expect("an address")],
            host_interfaces: vec!["veth1".to_owned()],
        };
        // A former pod of the name may still run.
        let former = Sandbox { uid: Some("u-0".to_owned()), ..want.clone() };
        assert_eq!(seen.sandboxes(), [former, want]);
        let seen = seen.read(&folder.path().join("nothing"));
        assert_eq!(seen.sandboxes(), []);
    }

    #[test]
    fn only_a_file_of_another_version_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("net-1-eth0");
        let write = |text: &str, time: SystemTime| {
            fs::write(&path, text).expect("a file");
            let file = fs::File::options().write(true).open(&path).expect("it is there");
            file.set_modified(time).expect("a time");
        };
        let uids = |seen: &CachedFiles| -> Vec<_> {
            seen.sandboxes().into_iter().filter_map(|sandbox| sandbox.uid).collect()
        };
        let time = SystemTime::now();
        write(FILE, time);
        let seen = CachedFiles::default().read(folder.path());
        assert_eq!(uids(&seen), ["u-1"]);
        write(&FILE.replace("u-1", "u-2"), time);
        let seen = seen.read(folder.path());
        assert_eq!(uids(&seen), ["u-1"], "it was read again");
        write(&FILE.replace("u-1", "u-30"), time);
        let seen = seen.read(folder.path());
        assert_eq!(uids(&seen), ["u-30"], "its length differs");
        write(&FILE.replace("u-1", "u-40"), time + Duration::from_secs(1));
        let seen = seen.read(folder.path());
        assert_eq!(uids(&seen), ["u-40"], "its time differs");
        fs::remove_file(&path).expect("it is there");
        assert_eq!(uids(&seen.read(folder.path())).len(), 0);
    }
}
