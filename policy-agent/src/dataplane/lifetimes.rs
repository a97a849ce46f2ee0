//! How long flows live: as long as this node's `nf_conntrack` keeps its entries (S27).
//!
//! `object` calls [`read`] and [`tick`] when it loads the programs. A value that an administrator changes later
//! counts from the next start of the agent.

use std::{fs, path::Path};

use nix::time::{ClockId, clock_getres};
use policy_common::flow::Lifetimes;

/// The sysctls of `nf_conntrack` (`Documentation/networking/nf_conntrack-sysctl.rst`).
const FOLDER: &str = "/proc/sys/net/netfilter";

/// The timeouts of this network namespace; Linux' default for one that cannot be read.
pub(super) fn read() -> Lifetimes {
    read_from(Path::new(FOLDER))
}

/// Nanoseconds of a tick of the kernel, by which the programs' coarse clock counts; 0 if the kernel does
/// not report it, and then the programs read the exact clock.
///
/// The resolution of the coarse clock is a tick (`KTIME_LOW_RES` in `include/linux/hrtimer.h`).
pub(super) fn tick() -> u64 {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).ok();
    tick.and_then(|tick| u64::try_from(tick.tv_nsec()).ok()).unwrap_or_default()
}

fn read_from(folder: &Path) -> Lifetimes {
    let or = |default: u32, name: &str| {
        let text = fs::read_to_string(folder.join(format!("nf_conntrack_{name}")));
        let seconds: Option<u32> = text.ok().and_then(|text| text.trim().parse().ok());
        // The programs' fast path takes a flow that sent a moment ago for alive.
        seconds.map_or(default, |seconds| seconds.max(1))
    };
    let default = Lifetimes::DEFAULT;
    Lifetimes {
        tcp_syn_sent: or(default.tcp_syn_sent, "tcp_timeout_syn_sent"),
        tcp_syn_recv: or(default.tcp_syn_recv, "tcp_timeout_syn_recv"),
        // kube-proxy lowers it to a day, and may start after the agent.
        tcp_established: or(default.tcp_established, "tcp_timeout_established")
            .min(default.tcp_established),
        tcp_close_wait: or(default.tcp_close_wait, "tcp_timeout_close_wait"),
        tcp_last_ack: or(default.tcp_last_ack, "tcp_timeout_last_ack"),
        tcp_close: or(default.tcp_close, "tcp_timeout_close"),
        udp: or(default.udp, "udp_timeout"),
        udp_stream: or(default.udp_stream, "udp_timeout_stream"),
        sctp_cookie_wait: or(default.sctp_cookie_wait, "sctp_timeout_cookie_wait"),
        sctp_established: or(default.sctp_established, "sctp_timeout_established"),
        sctp_shutdown: or(default.sctp_shutdown, "sctp_timeout_shutdown_sent"),
        icmp: or(default.icmp, "icmp_timeout"),
        generic: or(default.generic, "generic_timeout"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_between_a_ten_thousandth_and_a_tenth_of_a_second() {
        assert!((100_000..100_000_000).contains(&tick()), "{}", tick());
    }

    #[test]
    fn s27_timeouts_are_the_nodes_and_established_tcp_is_a_day_at_most() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(format!("nf_conntrack_{name}")), text).expect("a file");
        };
        assert_eq!(read_from(folder.path()), Lifetimes::DEFAULT, "without conntrack");
        write("udp_timeout", "45\n");
        write("tcp_timeout_close_wait", "3600\n");
        write("tcp_timeout_established", "432000\n");
        write("icmp_timeout", "soon\n");
        let read = read_from(folder.path());
        let want = Lifetimes { udp: 45, tcp_close_wait: 3600, ..Lifetimes::DEFAULT };
        assert_eq!(read, want);
        write("tcp_timeout_established", "7200\n");
        assert_eq!(read_from(folder.path()).tcp_established, 7200);
    }
}
