//! What the kernel must have, and the rights of this process.

use std::{fs, path::Path};

use nix::sys::utsname::uname;

use super::NodeCheck;
use crate::dataplane::is_on_bpffs;

/// Where the kernel describes its types.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// The mode of lockdown, in brackets among all modes.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
/// Bits of capabilities (capability.h) that the agent needs, and their names.
const CAPABILITIES: [(u32, &str); 3] = [(12, "NET_ADMIN"), (38, "PERFMON"), (39, "BPF")];

/// Linux 5.10 or newer.
pub(super) fn version() -> NodeCheck {
    let release = uname().map(|names| names.release().to_string_lossy().into_owned());
    of_release(&release.unwrap_or_default())
}

fn of_release(release: &str) -> NodeCheck {
    let name = "kernel";
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    let version = (next().unwrap_or_default(), next().unwrap_or_default());
    if version < (5, 10) {
        return NodeCheck::failed(name, format!("Linux {release}"), "boot Linux 5.10 or newer");
    }
    let by = if version < (6, 6) { "filters of a clsact qdisc" } else { "TCX links" };
    let found = format!("Linux {release}: programs are attached by {by}");
    if version < (5, 11) {
        let advice = "add the capability SYS_RESOURCE to the agent's container: this kernel counts maps \
                      against the limit of locked memory";
        return NodeCheck::warning(name, found, advice);
    }
    NodeCheck::ok(name, found)
}

/// BTF, by which the programs are loaded.
pub(super) fn types() -> NodeCheck {
    if Path::new(BTF).exists() {
        NodeCheck::ok("btf", format!("{BTF} exists"))
    } else {
        let advice = "boot a kernel that is built with CONFIG_DEBUG_INFO_BTF=y";
        NodeCheck::failed("btf", format!("{BTF} is missing"), advice)
    }
}

/// Lockdown, which in its strictest mode forbids programs to read memory of the kernel.
pub(super) fn lockdown() -> NodeCheck {
    let modes = fs::read_to_string(LOCKDOWN).unwrap_or_default();
    let mode = modes.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    match mode {
        Some(("confidentiality", _)) => {
            let advice = "the programs read no memory of the kernel and should load; if they do not, boot \
                          with lockdown=integrity";
            NodeCheck::warning("lockdown", "mode confidentiality", advice)
        }
        Some((mode, _)) => NodeCheck::ok("lockdown", format!("mode {mode}")),
        None => NodeCheck::ok("lockdown", "off"),
    }
}

/// The capabilities of this process, which in a pod are those of its container.
pub(super) fn privileges() -> NodeCheck {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let has = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let has = has.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    of_capabilities(has)
}

fn of_capabilities(has: u64) -> NodeCheck {
    let missing: Vec<&str> = CAPABILITIES
        .into_iter()
        .filter(|(bit, _)| has & (1 << bit) == 0)
        .map(|(_, name)| name)
        .collect();
    if missing.is_empty() {
        return NodeCheck::ok("privileges", "BPF, NET_ADMIN and PERFMON");
    }
    let advice = "run as root, or add these capabilities to the container";
    NodeCheck::failed("privileges", format!("without {}", missing.join(", ")), advice)
}

/// A bpffs around the folder of pins.
pub(super) fn bpffs(pins: &Path) -> NodeCheck {
    let there = pins.ancestors().find(|folder| folder.exists()).unwrap_or(pins);
    if is_on_bpffs(there).unwrap_or_default() {
        return NodeCheck::ok("bpffs", format!("{} is on a bpffs", there.display()));
    }
    let advice = "mount -t bpf bpf /sys/fs/bpf, before the agent's pod starts; it is lost at a reboot \
                  unless /etc/fstab or systemd mounts it";
    NodeCheck::failed("bpffs", format!("{} is on no bpffs", there.display()), advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckOutcome;

    #[test]
    fn the_version_of_the_kernel_decides() {
        #[rustfmt::skip]
        let cases = [
            ("5.4.0-150-generic",   CheckOutcome::Failed),
            ("5.10.0-33-cloud",     CheckOutcome::Warning),
            ("5.15.1",              CheckOutcome::Ok),
            ("6.18.5-amd64",        CheckOutcome::Ok),
            ("",                    CheckOutcome::Failed),
        ];
        for (release, outcome) in cases {
            assert_eq!(of_release(release).outcome, outcome, "{release}");
        }
        assert!(of_release("6.5.9").found.contains("clsact"));
        assert!(of_release("6.6.0").found.contains("TCX"));
    }

    #[test]
    fn missing_capabilities_are_named() {
        let all = (1 << 12) | (1 << 38) | (1 << 39);
        assert_eq!(of_capabilities(all).outcome, CheckOutcome::Ok);
        let check = of_capabilities(all & !(1 << 39) & !(1 << 12));
        assert_eq!(
            (check.outcome, &*check.found),
            (CheckOutcome::Failed, "without NET_ADMIN, BPF")
        );
    }
}
