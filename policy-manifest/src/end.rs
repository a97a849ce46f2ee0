//! Sources and destinations of connections, as expectations and options write them.

use std::{fmt, net::IpAddr, str::FromStr};

use policy_core::model::ObjectName;
use thiserror::Error;

/// An end of a connection.
///
/// Written `NAMESPACE/POD`, `host/NAME`, `service/NAMESPACE/NAME` or as an address;
/// `host` and `service` are not namespaces here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// A pod.
    Pod(ObjectName),
    /// A `kind: Host`.
    Host(String),
    /// A Service, at its cluster IP; only as the destination.
    Service(ObjectName),
    /// An address of any machine.
    Address(IpAddr),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => name.fmt(f),
            Self::Host(name) => write!(f, "host/{name}"),
            Self::Service(name) => write!(f, "service/{name}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// The text is not a source or destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("write NAMESPACE/POD, host/NAME, service/NAMESPACE/NAME or an address")]
pub struct EndError;

impl FromStr for End {
    type Err = EndError;

    fn from_str(text: &str) -> Result<Self, EndError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(EndError);
        }
        match parts[..] {
            ["service", namespace, name] => Ok(Self::Service(ObjectName::new(namespace, name))),
            ["host", name] => Ok(Self::Host(name.to_owned())),
            ["service", _] => Err(EndError),
            [namespace, name] => Ok(Self::Pod(ObjectName::new(namespace, name))),
            _ => Err(EndError),
        }
    }
}
