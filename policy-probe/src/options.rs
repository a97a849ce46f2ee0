//! Options of the command line: which manifests to read and what to probe.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use policy_core::model::Protocol;
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
    fn ports_are_read_as_kubectl_writes_them() {
        assert_eq!(port("80"), Ok((80, Protocol::Tcp)));
        assert_eq!(port("53/udp"), Ok((53, Protocol::Udp)));
        for bad in ["", "0", "65536", "80/", "80/ICMP", "http"] {
            assert!(port(bad).is_err(), "{bad}");
        }
    }
}
