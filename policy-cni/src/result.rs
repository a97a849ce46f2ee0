//! What a CNI plugin leaves: addresses of a pod, and interfaces.

use std::net::IpAddr;

use serde::Deserialize;

/// A result of the specification from 0.3.0 on, as far as it is used.
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
    /// With the length of its prefix.
    address: String,
    /// Index of its interface.
    #[serde(default)]
    interface: Option<usize>,
}

impl PluginResult {
    /// Addresses of an interface inside of the pod, in their order. One that is said to be of no
    /// interface is taken for the pod's.
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

    /// Names of the interfaces that stay in the node's namespace.
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
            ("an interface that is none",  r#"{"ips": [{"address": "10.0.0.2/24", "interface": 7}]}"#,   vec![],                      vec![]),
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
