//! The commands of the CNI specification.

use std::{ffi::OsString, io::Read, time::Duration};

use serde_json::json;

use crate::{
    PLUGIN, VERSIONS, client,
    configuration::{self, Configuration, FailMode},
    environment::{self, Environment, Variables},
    error::PluginError,
    protocol::{PodSandbox, Request},
    result::PluginResult,
};

/// The newest version that this plugin supports.
const NEWEST: &str = VERSIONS[VERSIONS.len() - 1];

/// Code of a STATUS that means: an ADD would fail.
const NOT_AVAILABLE: u32 = 50;

/// Longest time that STATUS waits.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// What the plugin writes, and its exit code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// A result or an error, for the runtime.
    pub stdout: String,
    /// For the runtime's log.
    pub stderr: String,
    /// Exit code.
    pub code: u8,
}

/// Runs the command that the variables name, with the configuration in `input`.
pub fn run(variables: impl Fn(&str) -> Option<OsString>, input: impl Read) -> Output {
    let command = match environment::required(&variables, "CNI_COMMAND") {
        Ok(command) => command,
        Err(error) => return failed(&error, NEWEST),
    };
    match command.as_str() {
        "ADD" => with_configuration(input, |configuration| add(&variables, configuration)),
        "CHECK" => with_configuration(input, |configuration| check(&variables, configuration)),
        "STATUS" => with_configuration(input, status),
        "VERSION" => version(input),
        // A sandbox must always be removable, whether or not an agent runs.
        "DEL" | "GC" => {
            configuration::skip(input);
            Output::default()
        }
        _ => {
            let problem = "is not a command of this plugin";
            failed(&PluginError::Environment { variable: "CNI_COMMAND", problem }, NEWEST)
        }
    }
}

/// Runs a command with its configuration; reports an error in the configuration's version.
fn with_configuration(
    input: impl Read,
    command: impl FnOnce(&Configuration) -> Result<Output, PluginError>,
) -> Output {
    let configuration = match Configuration::read(input) {
        Ok(configuration) => configuration,
        Err(error) => return failed(&error, NEWEST),
    };
    if let Err(error) = configuration.check_version() {
        return failed(&error, NEWEST);
    }
    command(&configuration).unwrap_or_else(|error| failed(&error, &configuration.cni_version))
}

/// ADD: waits until the pod's policies are in force, then passes the previous result on.
fn add(variables: &impl Variables, configuration: &Configuration) -> Result<Output, PluginError> {
    let Some(previous) = &configuration.prev_result else {
        return Err(PluginError::Configuration(
            "it has no prevResult: this plugin must be chained",
        ));
    };
    let success = Output { stdout: format!("{}\n", previous.get()), ..Output::default() };
    let enforced = sandbox(variables, configuration).and_then(|mut sandbox| {
        let timeout = configuration.timeout();
        sandbox.timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        client::request(&configuration.socket, &Request::Enforce(sandbox), timeout)
    });
    match enforced {
        Ok(()) => Ok(success),
        Err(error) => fail_open(configuration, error, success),
    }
}

/// CHECK: whether the pod's policies are in force now.
fn check(variables: &impl Variables, configuration: &Configuration) -> Result<Output, PluginError> {
    let enforced = sandbox(variables, configuration).and_then(|sandbox| {
        let request = Request::Enforce(sandbox);
        client::request(&configuration.socket, &request, configuration.timeout())
    });
    match enforced {
        Ok(()) => Ok(Output::default()),
        Err(error) => fail_open(configuration, error, Output::default()),
    }
}

/// STATUS: whether an ADD can succeed.
fn status(configuration: &Configuration) -> Result<Output, PluginError> {
    let timeout = configuration.timeout().min(STATUS_TIMEOUT);
    match client::request(&configuration.socket, &Request::Status, timeout) {
        Ok(()) => Ok(Output::default()),
        Err(error) if configuration.fail == FailMode::Open => {
            fail_open(configuration, error, Output::default())
        }
        Err(PluginError::NotEnforced(reason)) => {
            Ok(not_available(configuration, &PluginError::NotReady(reason)))
        }
        Err(error) => Ok(not_available(configuration, &error)),
    }
}

/// The output of STATUS where an ADD would fail.
fn not_available(configuration: &Configuration, error: &PluginError) -> Output {
    let stdout = error.report(&configuration.cni_version, NOT_AVAILABLE);
    Output { stdout, stderr: String::new(), code: 1 }
}

/// VERSION: the supported versions, in the version of the request if that is one of them.
fn version(input: impl Read) -> Output {
    let requested = configuration::version(input);
    let requested = requested.filter(|requested| VERSIONS.contains(&requested.as_str()));
    let version = requested.as_deref().unwrap_or(NEWEST);
    let result = json!({"cniVersion": version, "supportedVersions": VERSIONS});
    Output { stdout: format!("{result}\n"), ..Output::default() }
}

/// The pod's sandbox, from the variables and the previous result.
fn sandbox(
    variables: &impl Variables,
    configuration: &Configuration,
) -> Result<PodSandbox, PluginError> {
    let Environment { container, netns, interface, namespace, name, uid } =
        Environment::read(variables)?;
    let previous = configuration.prev_result.as_ref();
    let previous = previous.map(|previous| serde_json::from_str::<PluginResult>(previous.get()));
    let previous = previous.transpose().map_err(PluginError::PreviousResult)?.unwrap_or_default();
    let addresses = previous.addresses(&interface);
    let host_interfaces = previous.host_interfaces();
    Ok(PodSandbox {
        namespace,
        name,
        uid,
        container,
        netns,
        interface,
        addresses,
        host_interfaces,
        timeout_ms: 0,
    })
}

/// With `"fail": "open"`, turns an error into a warning and the output of a success.
fn fail_open(
    configuration: &Configuration,
    error: PluginError,
    success: Output,
) -> Result<Output, PluginError> {
    if configuration.fail == FailMode::Open && error.may_fail_open() {
        let stderr = format!("{PLUGIN}: the pod starts without its policies: {}\n", error.line());
        return Ok(Output { stderr, ..success });
    }
    Err(error)
}

fn failed(error: &PluginError, version: &str) -> Output {
    let stdout = error.report(version, error.code());
    Output { stdout, stderr: format!("{PLUGIN}: {}\n", error.line()), code: 1 }
}
