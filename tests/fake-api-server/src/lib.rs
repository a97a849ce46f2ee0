//! Plays an API server in tests, and fails in ways that a real one cannot be made to: pages of a
//! proxy, refusals that come and go, lists that are cut off.
//!
//! A test sets the answer of each path ([`ApiServer::set`]), points a client at the server by
//! [`ApiServer::kubeconfig`], and asserts what was requested ([`ApiServer::requests`]). Used by the
//! tests of `policy-kube` and of the agent's daemon.
#![forbid(unsafe_code)]

mod answers;

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

pub use answers::{bookmark, denies_all, groups, groups_with, resources, status};

/// Path of the cluster-wide policies, in the newest version.
pub const CLUSTER_POLICIES: &str = "/apis/policy.networking.k8s.io/v1beta1/clusternetworkpolicies";

/// How a path is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// These objects, by a watch or a list.
    Objects(Vec<Value>),
    /// An object of a kind of its own.
    Json(u16, Value),
    /// An HTML page with this status, as a proxy gives it.
    Page(u16),
    /// An empty body.
    Nothing,
    /// No response, to requests that come while this is the answer.
    Silence,
    /// The head of a response, and no body.
    Head,
}

/// How lists are streamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    /// Completely.
    #[default]
    Whole,
    /// Not at all.
    Refused,
    /// To the last object, and then silence.
    Endless,
    /// To the last object, and then the end of the body.
    Cut,
    /// To the last object, and then an error.
    Failed,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, POST, …
    pub method: String,
    /// Path, without the query.
    pub path: String,
    /// Query, without its question mark.
    pub query: String,
    /// Body; null where there is none.
    pub body: Value,
}

/// Answers for as long as the process lives.
#[derive(Clone, Debug)]
pub struct ApiServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// By path, with the number of changes: a watch ends when its answer changes.
    answers: BTreeMap<String, (u64, Answer)>,
    streams: Streams,
    requests: Vec<Request>,
    /// Watch events of a path that are not sent yet.
    pending: BTreeMap<String, Vec<Value>>,
    /// Names of created Events.
    events: Vec<String>,
}

impl ApiServer {
    /// Has all resources and no objects; without `policy.networking.k8s.io`.
    ///
    /// # Errors
    ///
    /// Where no port is free.
    pub fn new() -> Result<Self> {
        Self::at(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
    }

    /// Answers at a socket, which may be in any network namespace.
    ///
    /// # Errors
    ///
    /// A socket without an address.
    pub fn at(listener: TcpListener) -> Result<Self> {
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
                // The client may be gone.
                thread::spawn(move || drop(server.serve(&connection)));
            }
        });
        Ok(server)
    }

    /// Sets the answer of a path, and ends its watches.
    pub fn set(&self, path: &str, answer: Answer) {
        let mut state = self.state();
        let count = state.answers.get(path).map_or(0, |(count, _)| count + 1);
        state.answers.insert(path.to_owned(), (count, answer));
    }

    /// Serves `ClusterNetworkPolicy`, version `v1beta1`, with one that [denies all](denies_all).
    pub fn serve_cluster_policies(&self) {
        self.set("/apis", groups(true));
        self.set("/apis/policy.networking.k8s.io/v1beta1", resources("v1beta1"));
        self.set(CLUSTER_POLICIES, Answer::Objects(vec![denies_all()]));
    }

    /// Removes the answer of a path.
    pub fn unset(&self, path: &str) {
        self.state().answers.remove(path);
    }

    /// Names of created Events.
    #[must_use]
    pub fn events(&self) -> Vec<String> {
        self.state().events.clone()
    }

    /// Sends an event to the watch of a path.
    pub fn send(&self, path: &str, event: Value) {
        self.state().pending.entry(path.to_owned()).or_default().push(event);
    }

    /// Sets how lists are streamed.
    pub fn stream(&self, how: Streams) {
        self.state().streams = how;
    }

    /// Takes the requests that came since the last call.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }

    /// Writes a kubeconfig into a folder; its path.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn kubeconfig(&self, folder: &Path) -> Result<PathBuf> {
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

    fn serve(&self, connection: &TcpStream) -> Result<()> {
        let request = read(connection)?;
        let (path, method) = (request.path.clone(), request.method.clone());
        let query = &request.query;
        let (streams, watches) =
            (query.contains("sendInitialEvents=true"), query.contains("watch=true"));
        let body = request.body.clone();
        // The lock is released before the answer is written: a watch is written for a long time.
        let (answer, how) = {
            let mut state = self.state();
            state.requests.push(request);
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
            Some((_, Answer::Silence)) => wait_for_close(connection),
            Some(_) if streams && how == Streams::Refused => {
                whole(connection, 422, "application/json", &status(422).to_string())
            }
            // A client that has the head of a response waits for its body.
            Some((_, Answer::Head)) => {
                head(connection, 200, "application/json", None)?;
                wait_for_close(connection)
            }
            Some((count, Answer::Objects(objects))) if watches => {
                head(connection, 200, "application/json", None)?;
                if streams && !initial(connection, &objects, how)? {
                    return Ok(());
                }
                self.watch(connection, &path, count)
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

    /// Sends events until the answer of the path changes.
    fn watch(&self, mut connection: &TcpStream, path: &str, count: u64) -> Result<()> {
        while self.state().answers.get(path).is_some_and(|(now, _)| *now == count) {
            // Removed first, so that the lock is free while the events are written.
            let pending = self.state().pending.remove(path);
            for event in pending.into_iter().flatten() {
                writeln!(connection, "{event}")?;
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Creates an Event, once by each name.
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

fn read(connection: &TcpStream) -> Result<Request> {
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
    // A request without a body, or with another format than JSON, is recorded with a null.
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Request { method, path: path.to_owned(), query: query.to_owned(), body })
}

/// Streams a list; whether the watch goes on after it.
fn initial(mut connection: &TcpStream, objects: &[Value], how: Streams) -> Result<bool> {
    for object in objects {
        writeln!(connection, "{}", json!({"type": "ADDED", "object": object}))?;
    }
    match how {
        Streams::Whole => writeln!(connection, "{}", bookmark())?,
        Streams::Cut => return Ok(false),
        Streams::Failed => {
            writeln!(connection, "{}", json!({"type": "ERROR", "object": status(500)}))?;
            return Ok(false);
        }
        // Without a bookmark the client waits for more objects of the list.
        Streams::Refused | Streams::Endless => {}
    }
    Ok(true)
}

/// Waits until the client closes the connection.
fn wait_for_close(mut connection: &TcpStream) -> Result<()> {
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
