//! The result of a CNI plugin: addresses of a pod, and interfaces.
//!
//! An interface with a `sandbox` is in the pod, one without is on the node; each address has the index
//! of its interface:
//!
//! ```text
//! {"interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": "/run/netns/a"}],
//!  "ips": [{"address": "10.0.0.2/24", "interface": 1}]}
//! ```

use std::net::IpAddr;

use serde::Deserialize;

/// The used part of a result, in version 0.3.0 of the specification or later.
#[derive(Debug, Default, Deserialize)]
pub struct PluginResult {
    #[serde(default)]
    interfaces: Option<Vec<Interface>>,
    #[serde(default)]
    ips: Option<Vec<Address>>,
}

#[derive(Debug, Deserialize)]
struct Interface {
    name: String,
    #[serde(default)]
    sandbox: String,
}

#[derive(Debug, Deserialize)]
struct Address {
    /// With its prefix length.
    address: String,
    /// Index of its interface.
    #[serde(default)]
    interface: Option<usize>,
}

impl PluginResult {
    /// Addresses of an interface in the pod, in their order. An address without an interface counts as
    /// the pod's.
    #[must_use]
    pub fn addresses(&self, interface: &str) -> Vec<IpAddr> {
        let interfaces = self.interfaces.as_deref().unwrap_or_default();
        let is_here = |address: &&Address| {
            let named = address.interface.map(|index| interfaces.get(index));
            named.is_none_or(|named| {
                named.is_some_and(|named| named.name == interface && !named.sandbox.is_empty())
            })
        };
        let here = self.ips.iter().flatten().filter(is_here);
        let address = |text: &str| text.split('/').next()?.parse().ok();
        here.filter_map(|found| address(&found.address)).collect()
    }

    /// Names of the interfaces on the node.
    #[must_use]
    pub fn host_interfaces(&self) -> Vec<String> {
        let interfaces = self.interfaces.iter().flatten();
        interfaces
            .filter(|found| found.sandbox.is_empty())
            .map(|found| found.name.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_gives_the_pods_addresses_and_the_nodes_interfaces() {
        let bridge = r#"{"interfaces": [{"name": "cni0"}, {"name": "veth1"},
            {"name": "eth0", "sandbox": "/run/netns/a"}, {"name": "net1", "sandbox": "/run/netns/a"}],
            "ips": [{"address": "10.0.0.2/24", "interface": 2}, {"address": "fd00::2/64", "interface": 2},
            {"address": "192.0.2.1/24", "interface": 3}, {"address": "10.0.0.1/24", "interface": 0}]}"#;
        #[rustfmt::skip]
        let cases = [
            ("a bridge, two networks",     bridge,                                                       vec!["10.0.0.2", "fd00::2"], vec!["cni0", "veth1"]),
            ("no interfaces (0.3)",        r#"{"ips": [{"version": "4", "address": "10.0.0.2/24"}]}"#,   vec!["10.0.0.2"],            vec![]),
            ("an index out of range",      r#"{"ips": [{"address": "10.0.0.2/24", "interface": 7}]}"#,   vec![],                      vec![]),
            ("no address",                 r#"{"ips": [{"address": "ten/24"}]}"#,                        vec![],                      vec![]),
            ("null",                       r#"{"ips": null, "interfaces": null}"#,                       vec![],                      vec![]),
            ("nothing",                    "{}",                                                         vec![],                      vec![]),
        ];
        for (claim, text, addresses, interfaces) in cases {
            let result: PluginResult = serde_json::from_str(text).expect(claim);
            let found: Vec<String> =
                result.addresses("eth0").iter().map(ToString::to_string).collect();
            assert_eq!(found, addresses, "{claim}");
            assert_eq!(result.host_interfaces(), interfaces, "{claim}");
        }
    }
}
