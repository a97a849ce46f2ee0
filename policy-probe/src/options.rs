//! Options of the command line: which manifests to read and what to probe.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use policy_core::{
    intent::IntentOptions,
    model::{DenyReply, Protocol},
};
use policy_manifest::End;

/// The options of each command that prints a truth table.
#[derive(Clone, Debug, Default, Args)]
pub struct ProbeOptions {
    /// Manifests: a file, a folder (its .yaml, .yml and .json files, but no *.expect.yaml), or -
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// File of expectations that the table must meet
    #[arg(long, value_name = "FILE")]
    pub expect: Option<PathBuf>,

    /// Probe this port instead of the declared ones, as in 80/TCP or 53/UDP
    #[arg(long = "port", value_name = "PORT[/PROTOCOL]", value_parser = port)]
    pub ports: Vec<(u16, Protocol)>,

    /// Probe from here instead of from every pod: NAMESPACE/POD, host/NAME or an address
    #[arg(long, value_name = "END")]
    pub from: Vec<End>,

    /// Probe to here: NAMESPACE/POD, host/NAME, service/NAMESPACE/NAME or an address
    #[arg(long, value_name = "END")]
    pub to: Vec<End>,
}

/// What an agent enforces, as its operator decides: the same for `policy-agent run` and the lab.
#[derive(Clone, Debug, Default, Args)]
pub struct EnforcementOptions {
    /// Whether egress of a pod to the addresses of its own node needs a rule of a NetworkPolicy
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    own_node_egress: OwnNodeEgress,

    /// Source addresses that a service mesh gives to kubelet's probes, separated by commas, or `none`;
    /// packets with such a source from a process of the own node reach every pod. The default is that
    /// of Istio's ambient mode
    #[arg(long, value_name = "ADDRESSES", default_value_t)]
    probe_source: Addresses,

    /// Disable anti-spoofing for the pods of namespaces with the annotation
    /// policy-agent.io/anti-spoofing: disabled
    #[arg(long)]
    anti_spoofing_annotation: bool,

    /// What a pod gets back if policies deny a connection that it opens
    #[arg(long, value_name = "REPLY", value_enum, default_value_t)]
    deny_reply: Reply,

    /// Let namespaces choose another reply by the annotation policy-agent.io/deny-reply: none|reject
    #[arg(long)]
    deny_reply_annotation: bool,
}

/// What a pod gets back if policies deny a connection that it opens (S36, S59).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Reply {
    /// Nothing: the application waits for its timeout
    #[default]
    None,
    /// A TCP reset, or an ICMP error "administratively prohibited": the application fails at once
    Reject,
}

/// Whether egress to the own node needs a rule (S38).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OwnNodeEgress {
    /// It needs a rule, as egress to any other address
    #[default]
    Enforce,
    /// It needs none; cluster-wide policies still apply
    Allow,
}

/// A list of addresses on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Addresses(Vec<IpAddr>);

/// The probe sources of Istio's ambient mode.
impl Default for Addresses {
    fn default() -> Self {
        let ambient6 = [0xfd16, 0x9254, 0x7127, 0x1337, 0xffff, 0xffff, 0xffff, 0xffff];
        Self(vec![[169, 254, 7, 127].into(), ambient6.into()])
    }
}

impl FromStr for Addresses {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let addresses: Result<_, _> = text.split(',').map(str::parse).collect();
        addresses.map(Self).map_err(|_syntax| "write IP addresses, separated by commas, or none")
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(addresses) = self;
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        f.write_str(if texts.is_empty() { "none" } else { "" })?;
        f.write_str(&texts.join(","))
    }
}

impl From<EnforcementOptions> for IntentOptions {
    fn from(options: EnforcementOptions) -> Self {
        let EnforcementOptions {
            own_node_egress,
            probe_source,
            anti_spoofing_annotation,
            deny_reply,
            deny_reply_annotation,
        } = options;
        Self {
            own_node_egress: own_node_egress == OwnNodeEgress::Allow,
            probe_sources: probe_source.0,
            spoofing_annotation: anti_spoofing_annotation,
            deny_reply: match deny_reply {
                Reply::None => DenyReply::Nothing,
                Reply::Reject => DenyReply::Reject,
            },
            deny_reply_annotation,
            enforcement_annotation: false,
        }
    }
}

/// Format of a table on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// Reads `80`, `80/TCP`, `53/udp`.
///
/// # Errors
///
/// The text is not a port; the message shows how to write one.
pub fn port(text: &str) -> Result<(u16, Protocol), String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, Protocol::Tcp.name()));
    let number = u16::from_str(number).ok().filter(|number| *number > 0);
    let protocol = Protocol::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(protocol));
    number.zip(protocol).ok_or_else(|| "write a port as in 80/TCP, 53/UDP or 80".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_sources_are_a_list_or_none() {
        let ambient = "169.254.7.127,fd16:9254:7127:1337:ffff:ffff:ffff:ffff";
        assert_eq!(Addresses::default().to_string(), ambient);
        for (text, count) in [(ambient, 2), ("none", 0), ("10.0.0.1", 1)] {
            let read: Addresses = text.parse().expect("a list");
            assert_eq!((read.0.len(), read.to_string()), (count, text.to_owned()));
        }
        for bad in ["", "10.0.0.1,", "10.0.0.0/8", "None"] {
            assert!(bad.parse::<Addresses>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_are_read_as_kubectl_writes_them() {
        assert_eq!(port("80"), Ok((80, Protocol::Tcp)));
        assert_eq!(port("53/udp"), Ok((53, Protocol::Udp)));
        for bad in ["", "0", "65536", "80/", "80/ICMP", "http"] {
            assert!(port(bad).is_err(), "{bad}");
        }
    }
}
