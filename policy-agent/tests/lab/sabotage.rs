//! A dataplane with a part left out is noticed: a broken lab never looks like a strict policy.

use std::{io, process::Output};

use crate::program::{TOPOLOGIES, assert_code, lab, told};

fn without(part: &str, topology: &str) -> io::Result<Output> {
    let files = ["-f", "examples/three-tier.yaml", "--expect", "examples/three-tier.expect.yaml"];
    lab(&files).args(["--without", part, "--topology", topology]).output()
}

fn is_noticed(part: &str, line: &str) -> io::Result<()> {
    for topology in TOPOLOGIES {
        let output = without(part, topology)?;
        assert_code(&output, 1);
        let text = told(&output);
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    Ok(())
}

#[test]
fn ingress_left_out_is_noticed() -> io::Result<()> {
    is_noticed("ingress", "Wire and compiler disagree")
}

#[test]
fn egress_left_out_is_noticed() -> io::Result<()> {
    is_noticed("egress", "Wire and compiler disagree")
}

#[test]
fn ipv6_left_out_is_noticed() -> io::Result<()> {
    is_noticed("ipv6", "IPv6")
}

/// S46.
#[test]
fn anti_spoofing_left_out_is_noticed() -> io::Result<()> {
    is_noticed("anti-spoofing", "a forged source address")
}
