//! The plugin as a program, with agents that respond, stay silent, or break the protocol.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use policy_cni::protocol::{PodSandbox, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A result with unusual spaces and unknown fields, which must be passed on byte for byte.
const PREVIOUS: &str = r#"{"cniVersion":"1.0.0",  "interfaces":[{"name":"veth1","mac":"aa"},{"name":"eth0","sandbox":"/run/netns/a","mtu":1500}],"ips":[{"address":"10.0.0.2/24","interface":1}],"later":{"x":[1, 2]}}"#;

/// A folder for the agent's socket.
struct Rig(TempDir);

impl Rig {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("cni.sock")
    }

    /// Starts an agent that serves one connection.
    fn agent<T: Send + 'static>(
        &self,
        act: impl FnOnce(UnixStream) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let listener = UnixListener::bind(self.socket()).expect("a socket");
        thread::spawn(move || act(listener.accept().expect("a connection").0))
    }

    /// A configuration as the runtime passes it, with more fields.
    fn configuration(&self, more: &str) -> String {
        let socket = self.socket();
        format!(
            r#"{{"cniVersion": "1.0.0", "name": "net", "type": "policy-cni", "socket": "{}",
                "prevResult": {PREVIOUS}, "runtimeConfig": {{"portMappings": []}} {more}}}"#,
            socket.display()
        )
    }
}

/// Reads the request and writes the response.
fn respond(text: &'static str) -> impl FnOnce(UnixStream) -> Request {
    move |mut stream| {
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).expect("a request");
        // The plugin may have reached its deadline.
        let _ = stream.write_all(text.as_bytes());
        serde_json::from_str(&line).expect("a request of the protocol")
    }
}

fn run(command: &str, configuration: &str) -> Output {
    run_with(command, configuration, &[])
}

fn run_with(command: &str, configuration: &str, changes: &[(&str, Option<&str>)]) -> Output {
    let mut variables = BTreeMap::from([
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/a"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u-1"),
        ("CNI_PATH", "/opt/cni/bin"),
    ]);
    for (name, value) in changes {
        variables.remove(name);
        variables.extend(value.map(|value| (*name, value)));
    }
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_policy-cni"));
    plugin.env_clear().envs(variables).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut plugin = plugin.stderr(Stdio::piped()).spawn().expect("the plugin");
    let mut input = plugin.stdin.take().expect("its input");
    // The plugin may end before it has read a configuration that it refuses.
    let _ = input.write_all(configuration.as_bytes());
    drop(input);
    plugin.wait_with_output().expect("its end")
}

/// The code of the error on standard output.
#[track_caller]
fn code(output: &Output) -> u64 {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error: Value = serde_json::from_slice(&output.stdout).expect("an error");
    assert!(error["cniVersion"].is_string() && error["msg"].is_string(), "{error}");
    error["code"].as_u64().expect("a code")
}

#[track_caller]
fn passed(output: &Output) {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), PREVIOUS);
}

#[test]
fn s47_add_waits_for_the_agent_and_passes_the_result_on_byte_for_byte() {
    let rig = Rig::new();
    let agent = rig.agent(respond("{\"answer\":\"enforced\", \"later\": 1}\n"));
    let output = run("ADD", &rig.configuration(""));
    passed(&output);
    let text = |text: &str| text.to_owned();
    let asked = agent.join().expect("the agent");
    assert_eq!(
        asked,
        Request::Enforce(PodSandbox {
            namespace: text("shop"),
            name: text("web-1"),
            uid: Some(text("u-1")),
            container: text("c1"),
            netns: text("/run/netns/a"),
            interface: text("eth0"),
            addresses: vec!["10.0.0.2".parse().expect("an address")],
            host_interfaces: vec![text("veth1")],
            timeout_ms: 15_000,
        })
    );
}

#[test]
fn without_a_good_response_the_pod_fails_closed_or_open_as_configured() {
    type Act = fn(UnixStream);
    let refuses: Act = |stream| {
        respond("{\"answer\":\"refused\",\"why\":\"no such pod\"}\n")(stream);
    };
    let babbles: Act = |stream| drop(respond("enforced\n")(stream));
    let hangs_up: Act = drop;
    let endless: Act = |mut stream| {
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    };
    let silent: Act = |stream| {
        thread::sleep(Duration::from_secs(4));
        drop(stream);
    };
    #[rustfmt::skip]
    let cases = [
        ("refuses",              Some(refuses),  11),
        ("makes no sense",       Some(babbles),  100),
        ("hangs up",             Some(hangs_up), 11),
        ("never ends its line",  Some(endless),  100),
        ("says nothing",         Some(silent),   11),
        ("is not there",         None,           11),
    ];
    for (claim, act, want) in cases {
        for fail in ["closed", "open"] {
            let rig = Rig::new();
            let agent = act.map(|act| rig.agent(act));
            let more = format!(", \"fail\": \"{fail}\", \"timeout\": 1");
            let start = Instant::now();
            let output = run("ADD", &rig.configuration(&more));
            assert!(start.elapsed() < Duration::from_secs(4), "{claim}: {:?}", start.elapsed());
            if fail == "open" {
                passed(&output);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(said.contains("starts without its policies"), "{claim}: {said}");
            } else {
                assert_eq!(code(&output), want, "{claim}");
            }
            drop(agent);
        }
    }
}

#[test]
fn a_full_socket_queue_does_not_delay_the_plugin_beyond_its_deadline() {
    let rig = Rig::new();
    let _listener = UnixListener::bind(rig.socket()).expect("a socket");
    // No thread accepts: std sets a queue of 128, and the next connect blocks.
    let crowd: Vec<_> = (0..200)
        .map(|_| {
            let socket = rig.socket();
            thread::spawn(move || {
                UnixStream::connect(socket).map(|stream| (stream, thread::park()))
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    assert_eq!(code(&run("ADD", &rig.configuration(", \"timeout\": 1"))), 11);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    // The threads end with the process.
    drop(crowd);
}

#[test]
fn del_and_gc_never_fail() {
    let rig = Rig::new();
    let whole = rig.configuration("");
    let without = [("CNI_NETNS", None), ("CNI_ARGS", None), ("CNI_CONTAINERID", None)];
    for command in ["DEL", "GC"] {
        for text in [whole.as_str(), "", "{", "[]", "{\"cniVersion\": \"9.9.9\"}"] {
            for changes in [&[][..], &without] {
                let output = run_with(command, text, changes);
                assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
            }
        }
    }
}

#[test]
fn version_lists_supported_versions_in_the_version_of_the_request() {
    #[rustfmt::skip]
    let cases = [
        ("{\"cniVersion\": \"1.0.0\"}", "1.0.0"),
        ("{\"cniVersion\": \"0.3.1\"}", "0.3.1"),
        ("{\"cniVersion\": \"7.0.0\"}", "1.1.0"),
        ("",                            "1.1.0"),
    ];
    for (text, want) in cases {
        let output = run("VERSION", text);
        let said: Value = serde_json::from_slice(&output.stdout).expect("an answer");
        let supported = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
        assert_eq!(said, json!({"cniVersion": want, "supportedVersions": supported}), "{text}");
    }
}

#[test]
fn check_and_status_report_the_agents_response() {
    let enforced = "{\"answer\":\"enforced\"}\n";
    let refused = "{\"answer\":\"refused\",\"why\":\"not yet\"}\n";
    #[rustfmt::skip]
    let cases = [
        ("CHECK",  Some(enforced), None),
        ("CHECK",  Some(refused),  Some(11)),
        ("CHECK",  None,           Some(11)),
        ("STATUS", Some(enforced), None),
        ("STATUS", Some(refused),  Some(50)),
        ("STATUS", None,           Some(50)),
    ];
    for (command, says, want) in cases {
        let rig = Rig::new();
        let agent = says.map(|says| rig.agent(respond(says)));
        let output = run(command, &rig.configuration(""));
        match want {
            None => assert!(output.status.success() && output.stdout.is_empty(), "{output:?}"),
            Some(want) => assert_eq!(code(&output), want, "{command}"),
        }
        if (command, says) == ("STATUS", Some(refused)) {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.contains("the agent is not ready: not yet"), "{said}");
        }
        if let Some(Request::Enforce(sandbox)) = agent.map(|agent| agent.join().expect("it")) {
            assert_eq!(sandbox.timeout_ms, 0, "a check does not wait");
        }
    }
}

#[test]
fn invalid_input_is_an_error_with_its_code() {
    let rig = Rig::new();
    let huge = format!("{{\"cniVersion\": \"1.0.0\", \"x\": \"{}\"}}", "y".repeat(5 << 20));
    let deep = format!("{{\"cniVersion\": \"1.0.0\", \"x\": {}", "[".repeat(100_000));
    let alone = "{\"cniVersion\": \"1.0.0\", \"name\": \"net\", \"type\": \"policy-cni\"}";
    #[rustfmt::skip]
    let cases = [
        ("nothing",                 String::new(),                                        6),
        ("no JSON",                 "{\"cniVersion\": ".to_owned(),                       6),
        ("no object",               "[1]".to_owned(),                                     6),
        ("endless",                 huge,                                                 6),
        ("bottomless",              deep,                                                 6),
        ("a wrong type",            rig.configuration(", \"timeout\": \"soon\""),         6),
        ("an unknown choice",       rig.configuration(", \"fail\": \"ajar\""),            6),
        ("of an old version",       alone.replace("1.0.0", "0.2.0"),                      1),
        ("of no version",           alone.replace("cniVersion", "version"),               1),
        ("not chained",             alone.to_owned(),                                     7),
        ("another type of result",  rig.configuration("").replace(PREVIOUS, "[1]"),       6),
        ("an address of a number",  rig.configuration("").replace("\"10.0.0.2/24\"", "7"), 6),
    ];
    for (claim, text, want) in cases {
        assert_eq!(code(&run("ADD", &text)), want, "{claim}");
    }
    #[rustfmt::skip]
    let cases = [
        ("no command",       "CNI_COMMAND",     None),
        ("another command",  "CNI_COMMAND",     Some("add")),
        ("no container",     "CNI_CONTAINERID", None),
        ("no namespace",     "CNI_NETNS",       Some("")),
        ("no pod",           "CNI_ARGS",        Some("IgnoreUnknown=1;K8S_POD_NAME=")),
    ];
    for (claim, name, value) in cases {
        let output = run_with("ADD", &rig.configuration(""), &[(name, value)]);
        assert_eq!(code(&output), 4, "{claim}");
    }
}
