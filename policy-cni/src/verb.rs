//! The verbs of the CNI specification.

use std::{ffi::OsString, io::Read, time::Duration};

use serde_json::json;

use crate::{
    PLUGIN, VERSIONS,
    ask::ask,
    configuration::{self, Configuration, Fail},
    environment::{self, Environment, Variables},
    failure::Failure,
    result::PluginResult,
    wire::{Request, Sandbox},
};

/// The newest version that this plugin knows.
const NEWEST: &str = VERSIONS[VERSIONS.len() - 1];

/// Code of a STATUS that says: an ADD would fail.
const NOT_AVAILABLE: u32 = 50;

/// What the plugin says, and how it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// A result or an error, for the runtime.
    pub stdout: String,
    /// For the runtime's log.
    pub stderr: String,
    /// Exit code.
    pub code: u8,
}

/// Does what the environment asks for, with the configuration that `input` holds.
pub fn run(variables: impl Fn(&str) -> Option<OsString>, input: impl Read) -> Output {
    let command = match environment::required(&variables, "CNI_COMMAND") {
        Ok(command) => command,
        Err(failure) => return failed(&failure, NEWEST),
    };
    match command.as_str() {
        "ADD" => with(input, |configuration| add(&variables, configuration)),
        "CHECK" => with(input, |configuration| check(&variables, configuration)),
        "STATUS" => with(input, status),
        "VERSION" => version(input),
        // What is taken down must come down: the agent sees the link go, whatever is said here.
        "DEL" | "GC" => {
            configuration::skip(input);
            Output::default()
        }
        _ => {
            let problem = "is no verb of this plugin";
            failed(&Failure::Environment { variable: "CNI_COMMAND", problem }, NEWEST)
        }
    }
}

/// Does something with a configuration, and says what failed in its version.
fn with(input: impl Read, act: impl FnOnce(&Configuration) -> Result<Output, Failure>) -> Output {
    let configuration = match Configuration::read(input) {
        Ok(configuration) => configuration,
        Err(failure) => return failed(&failure, NEWEST),
    };
    if let Err(failure) = configuration.check_version() {
        return failed(&failure, NEWEST);
    }
    act(&configuration).unwrap_or_else(|failure| failed(&failure, &configuration.cni_version))
}

/// Lets the pod start when its policies are in force.
fn add(variables: &impl Variables, configuration: &Configuration) -> Result<Output, Failure> {
    let Some(previous) = &configuration.prev_result else {
        return Err(Failure::Configuration("it has no prevResult: this plugin must be chained"));
    };
    let passed = Output { stdout: format!("{}\n", previous.get()), ..Output::default() };
    let asked = sandbox(variables, configuration).and_then(|mut sandbox| {
        let patience = configuration.patience();
        sandbox.patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        ask(&configuration.socket, &Request::Enforce(sandbox), patience)
    });
    match asked {
        Ok(()) => Ok(passed),
        Err(failure) => opened(configuration, failure, passed),
    }
}

/// Says whether the pod is under its policies now.
fn check(variables: &impl Variables, configuration: &Configuration) -> Result<Output, Failure> {
    let asked = sandbox(variables, configuration).and_then(|sandbox| {
        ask(&configuration.socket, &Request::Enforce(sandbox), configuration.patience())
    });
    match asked {
        Ok(()) => Ok(Output::default()),
        Err(failure) => opened(configuration, failure, Output::default()),
    }
}

/// Says whether an ADD has a chance.
fn status(configuration: &Configuration) -> Result<Output, Failure> {
    let patience = configuration.patience().min(Duration::from_secs(5));
    match ask(&configuration.socket, &Request::Status, patience) {
        Ok(()) => Ok(Output::default()),
        Err(failure) if configuration.fail == Fail::Open => {
            opened(configuration, failure, Output::default())
        }
        Err(Failure::NotEnforced(why)) => Ok(unavailable(configuration, &Failure::NotReady(why))),
        Err(failure) => Ok(unavailable(configuration, &failure)),
    }
}

/// What STATUS says where an ADD would fail.
fn unavailable(configuration: &Configuration, failure: &Failure) -> Output {
    let stdout = failure.report(&configuration.cni_version, NOT_AVAILABLE);
    Output { stdout, stderr: String::new(), code: 1 }
}

/// Says which versions a configuration may be of.
fn version(input: impl Read) -> Output {
    let asked = configuration::version(input);
    let asked = asked.filter(|asked| VERSIONS.contains(&asked.as_str()));
    let version = asked.as_deref().unwrap_or(NEWEST);
    let answer = json!({"cniVersion": version, "supportedVersions": VERSIONS});
    Output { stdout: format!("{answer}\n"), ..Output::default() }
}

/// The pod, in the words of the runtime and of the plugins before this one.
fn sandbox(variables: &impl Variables, configuration: &Configuration) -> Result<Sandbox, Failure> {
    let Environment { container, netns, interface, namespace, name, uid } =
        Environment::read(variables)?;
    let previous = configuration.prev_result.as_ref();
    let previous = previous.map(|previous| serde_json::from_str::<PluginResult>(previous.get()));
    let previous = previous.transpose().map_err(Failure::Previous)?.unwrap_or_default();
    let addresses = previous.addresses(&interface);
    let host_interfaces = previous.host_interfaces();
    let patience = 0;
    Ok(Sandbox {
        namespace,
        name,
        uid,
        container,
        netns,
        interface,
        addresses,
        host_interfaces,
        patience,
    })
}

/// Where pods shall start all the same, what failed is told and no more.
fn opened(
    configuration: &Configuration,
    failure: Failure,
    output: Output,
) -> Result<Output, Failure> {
    if configuration.fail == Fail::Open && failure.may_pass() {
        let stderr = format!("{PLUGIN}: the pod starts without its policies: {}\n", failure.line());
        return Ok(Output { stderr, ..output });
    }
    Err(failure)
}

fn failed(failure: &Failure, version: &str) -> Output {
    let stdout = failure.report(version, failure.code());
    Output { stdout, stderr: format!("{PLUGIN}: {}\n", failure.line()), code: 1 }
}
