//! The variables in which the runtime describes a pod's sandbox.

use std::ffi::OsString;

use crate::error::PluginError;

/// Returns the value of a variable.
pub(crate) trait Variables: Fn(&str) -> Option<OsString> {}
impl<T: Fn(&str) -> Option<OsString>> Variables for T {}

/// A pod's sandbox as the variables describe it.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) container: String,
    pub(crate) netns: String,
    pub(crate) interface: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: Option<String>,
}

impl Environment {
    /// Reads all variables that describe the sandbox.
    ///
    /// The pod is in `CNI_ARGS`, as `IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1`.
    pub(crate) fn read(variables: &impl Variables) -> Result<Self, PluginError> {
        let container = required(variables, "CNI_CONTAINERID")?;
        let netns = required(variables, "CNI_NETNS")?;
        let interface = required(variables, "CNI_IFNAME")?;
        let pairs = text(variables, "CNI_ARGS")?.unwrap_or_default();
        let of = |key: &str| {
            let values = pairs.split(';').filter_map(|pair| pair.split_once('='));
            let value =
                values.filter(|(found, _)| *found == key).map(|(_, value)| value).next_back();
            value.filter(|value| !value.is_empty()).map(ToOwned::to_owned)
        };
        let unnamed = || PluginError::Environment { variable: "CNI_ARGS", problem: "names no pod" };
        Ok(Self {
            container,
            netns,
            interface,
            namespace: of("K8S_POD_NAMESPACE").ok_or_else(unnamed)?,
            name: of("K8S_POD_NAME").ok_or_else(unnamed)?,
            uid: of("K8S_POD_UID"),
        })
    }
}

/// A variable that must have a value.
pub(crate) fn required(
    variables: &impl Variables,
    variable: &'static str,
) -> Result<String, PluginError> {
    let value = text(variables, variable)?.filter(|value| !value.is_empty());
    value.ok_or(PluginError::Environment { variable, problem: "is not set" })
}

fn text(variables: &impl Variables, variable: &'static str) -> Result<Option<String>, PluginError> {
    let invalid = |_: OsString| PluginError::Environment { variable, problem: "is not UTF-8" };
    variables(variable).map(|value| value.into_string().map_err(invalid)).transpose()
}
