//! What answers in an API server's place, as no real one could be made to: pages of somebody else,
//! refusals that come and go, lists that are cut off.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Where cluster-wide policies are.
pub(crate) const CLUSTER_POLICIES: &str =
    "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies";

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These objects, by a watch or a list.
    Objects(Vec<Value>),
    /// An object of a kind of its own.
    Json(u16, Value),
    /// A page of somebody else.
    Page(u16),
    /// A body that ends before it has begun.
    Nothing,
    /// No word, to who asks while this is the answer, for as long as that one waits.
    Silence,
    /// A head, and then no word.
    Head,
}

/// How lists are streamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Streams {
    #[default]
    Whole,
    /// Not at all.
    Refused,
    /// To the last object, and then no word.
    Endless,
    /// To the last object, and no further.
    Cut,
    /// To the last object, and then with an error.
    Failed,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

/// Answers for as long as the process lives.
#[derive(Clone)]
pub(crate) struct ApiServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By path, and how often it was changed: what was answered before ends then.
    answers: BTreeMap<String, (u64, Answer)>,
    streams: Streams,
    asked: Vec<Asked>,
    /// What watches of a path are yet to be told.
    news: BTreeMap<String, Vec<Value>>,
    /// Names of Events that were made.
    events: Vec<String>,
}

impl ApiServer {
    /// Has all kinds and no objects; without `policy.networking.k8s.io`.
    pub(crate) fn new() -> Result<Self> {
        Self::at(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
    }

    /// Answers at a socket of any network namespace.
    pub(crate) fn at(listener: TcpListener) -> Result<Self> {
        let (address, state) = (listener.local_addr()?, Arc::default());
        let server = Self { address, state };
        for path in [
            "/api/v1/namespaces",
            "/api/v1/pods",
            "/api/v1/services",
            "/api/v1/nodes",
            "/apis/networking.k8s.io/v1/networkpolicies",
            "/apis/discovery.k8s.io/v1/endpointslices",
        ] {
            server.set(path, Answer::Objects(Vec::new()));
        }
        server.set("/apis", groups(false));
        let cloned = server.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let server = cloned.clone();
                // Whoever asked may be gone.
                thread::spawn(move || drop(server.serve(&connection)));
            }
        });
        Ok(server)
    }

    /// From now on a path has this answer; watches of it end.
    pub(crate) fn set(&self, path: &str, answer: Answer) {
        let mut state = self.state();
        let count = state.answers.get(path).map_or(0, |(count, _)| count + 1);
        state.answers.insert(path.to_owned(), (count, answer));
    }

    /// From now on a path has no answer of its own.
    pub(crate) fn unset(&self, path: &str) {
        self.state().answers.remove(path);
    }

    /// Names of Events that were made.
    pub(crate) fn events(&self) -> Vec<String> {
        self.state().events.clone()
    }

    /// Tells a watch of a path.
    pub(crate) fn tell(&self, path: &str, event: Value) {
        self.state().news.entry(path.to_owned()).or_default().push(event);
    }

    /// From now on lists are streamed like this.
    pub(crate) fn stream(&self, how: Streams) {
        self.state().streams = how;
    }

    /// What was asked so far, and is so no more.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state().asked)
    }

    /// Writes a kubeconfig into a folder.
    pub(crate) fn kubeconfig(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        });
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut connection: &TcpStream) -> Result<()> {
        let asked = request(connection)?;
        let (path, method) = (asked.path.clone(), asked.method.clone());
        let (streams, watches) =
            (asked.query.contains("sendInitialEvents=true"), asked.query.contains("watch=true"));
        let body = asked.body.clone();
        let (answer, how) = {
            let mut state = self.state();
            state.asked.push(asked);
            (state.answers.get(&path).cloned(), state.streams)
        };
        match answer {
            None if method == "POST" => self.create(connection, &body),
            None => whole(connection, 404, "application/json", &status(404).to_string()),
            Some((_, Answer::Json(code, value))) => {
                whole(connection, code, "application/json", &value.to_string())
            }
            Some((_, Answer::Page(code))) => {
                whole(connection, code, "text/html", "<html>no such page</html>")
            }
            Some((_, Answer::Nothing)) => Ok(head(connection, 200, "application/json", None)?),
            Some((_, Answer::Silence)) => left(connection),
            Some(_) if streams && how == Streams::Refused => {
                whole(connection, 422, "application/json", &status(422).to_string())
            }
            Some((_, Answer::Head)) => {
                head(connection, 200, "application/json", None)?;
                left(connection)
            }
            Some((count, Answer::Objects(objects))) if watches => {
                head(connection, 200, "application/json", None)?;
                if streams {
                    for object in objects {
                        writeln!(connection, "{}", json!({"type": "ADDED", "object": object}))?;
                    }
                    match how {
                        Streams::Whole => writeln!(connection, "{}", bookmark())?,
                        Streams::Cut => return Ok(()),
                        Streams::Failed => {
                            let error = json!({"type": "ERROR", "object": status(500)});
                            return Ok(writeln!(connection, "{error}")?);
                        }
                        Streams::Refused | Streams::Endless => {}
                    }
                }
                while self.state().answers.get(&path).is_some_and(|(now, _)| *now == count) {
                    let news = self.state().news.remove(&path);
                    for event in news.into_iter().flatten() {
                        writeln!(connection, "{event}")?;
                    }
                    thread::sleep(Duration::from_millis(10));
                }
                Ok(())
            }
            Some((_, Answer::Objects(items))) => {
                let list = json!({
                    "apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"},
                    "items": items,
                });
                whole(connection, 200, "application/json", &list.to_string())
            }
        }
    }

    /// An Event; as a real one, once by each name.
    fn create(&self, connection: &TcpStream, event: &Value) -> Result<()> {
        let name = event["metadata"]["name"].as_str().context("no name")?.to_owned();
        let mut state = self.state();
        let (code, answer) = if state.events.contains(&name) {
            (409, status(409))
        } else {
            state.events.push(name);
            (201, event.clone())
        };
        drop(state);
        whole(connection, code, "application/json", &answer.to_string())
    }
}

/// The list of groups, with or without that of cluster-wide policies.
pub(crate) fn groups(has_cluster_policies: bool) -> Answer {
    let group = |name: &str, version: &str| {
        let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    let mut groups = vec![group("networking.k8s.io", "v1")];
    if has_cluster_policies {
        groups.push(group("policy.networking.k8s.io", "v1alpha2"));
    }
    Answer::Json(200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

/// The list of resources of a version, with cluster-wide policies.
pub(crate) fn resources(version: &str) -> Answer {
    Answer::Json(
        200,
        json!({
            "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": format!("policy.networking.k8s.io/{version}"),
            "resources": [{
                "name": "clusternetworkpolicies", "singularName": "", "namespaced": false,
                "kind": "ClusterNetworkPolicy", "verbs": ["list", "watch"],
            }],
        }),
    )
}

/// A cluster-wide policy under which nothing leaves any pod.
pub(crate) fn denies_all() -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "deny", "resourceVersion": "1"},
        "spec": {
            "tier": "Admin", "priority": 1, "subject": {"namespaces": {}},
            "egress": [{"action": "Deny", "to": [{"networks": ["0.0.0.0/0"]}]}],
        },
    })
}

/// A refusal in an API server's words.
pub(crate) fn status(code: u16) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("fake refusal {code}"), "reason": "Fake", "code": code,
    })
}

/// The end of a list that is streamed.
pub(crate) fn bookmark() -> Value {
    let annotations = json!({"k8s.io/initial-events-end": "true"});
    let metadata = json!({"resourceVersion": "1", "annotations": annotations});
    let object = json!({"kind": "Any", "apiVersion": "v1", "metadata": metadata});
    json!({"type": "BOOKMARK", "object": object})
}

fn request(connection: &TcpStream) -> Result<Asked> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let method = words.next().context("no method")?;
    let target = words.next().context("no path")?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Asked { method, path: path.to_owned(), query: query.to_owned(), body })
}

/// Waits until who asked is gone.
fn left(mut connection: &TcpStream) -> Result<()> {
    while connection.read(&mut [0])? > 0 {}
    Ok(())
}

fn head(
    mut connection: &TcpStream,
    code: u16,
    media: &str,
    length: Option<usize>,
) -> std::io::Result<()> {
    let length = length.map_or_else(String::new, |length| format!("Content-Length: {length}\r\n"));
    write!(
        connection,
        "HTTP/1.1 {code} Fake\r\nContent-Type: {media}\r\n{length}Connection: close\r\n\r\n"
    )
}

fn whole(mut connection: &TcpStream, code: u16, media: &str, body: &str) -> Result<()> {
    head(connection, code, media, Some(body.len()))?;
    Ok(connection.write_all(body.as_bytes())?)
}
