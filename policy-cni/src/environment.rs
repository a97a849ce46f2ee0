//! What the runtime says in the environment.

use std::ffi::OsString;

use crate::failure::Failure;

/// Looks a variable up.
pub(crate) trait Variables: Fn(&str) -> Option<OsString> {}
impl<T: Fn(&str) -> Option<OsString>> Variables for T {}

/// A container's sandbox in the runtime's words.
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
    /// Reads all that names a pod.
    pub(crate) fn read(variables: &impl Variables) -> Result<Self, Failure> {
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
        let unnamed = || Failure::Environment { variable: "CNI_ARGS", problem: "names no pod" };
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

/// A variable that must be there.
pub(crate) fn required(
    variables: &impl Variables,
    variable: &'static str,
) -> Result<String, Failure> {
    let value = text(variables, variable)?.filter(|value| !value.is_empty());
    value.ok_or(Failure::Environment { variable, problem: "is not set" })
}

fn text(variables: &impl Variables, variable: &'static str) -> Result<Option<String>, Failure> {
    let illegible = |_: OsString| Failure::Environment { variable, problem: "is no text" };
    variables(variable).map(|value| value.into_string().map_err(illegible)).transpose()
}
