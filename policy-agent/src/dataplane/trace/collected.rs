//! Puts the lines of each packet together: programs on several CPUs write into one ring buffer.
//!
//! A line begins with the number of its CPU and with its kind: 1 is the first line of a packet, 2 the
//! last one, 0 any other. A CPU finishes with a packet before it begins the next one:
//!
//! ```text
//! ring buffer                                  lines
//! 0 1 packet: to the pod, …                    packet: from the pod, …
//! 1 1 packet: from the pod, …                  verdict: passes
//! 1 2 verdict: passes                          packet: to the pod, …
//! 0 2 verdict: dropped, reason 1               verdict: dropped, reason no-rule
//! ```
//!
//! If the ring buffer was full, lines are lost. A packet without its last line ends where the next one of
//! the CPU begins, so that it does not get that one's verdict.

use std::{collections::BTreeMap, mem};

use super::words;

/// The kind of the first line of a packet.
const FIRST: u32 = 1;

/// The kind of the last line of a packet.
const LAST: u32 = 2;

/// The lines that were read.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// By CPU: those of the packet that it judges.
    unfinished: BTreeMap<u32, Vec<String>>,
    /// Those of the packets before.
    finished: Vec<String>,
}

impl Collected {
    /// Adds a line of the programs: the numbers of the CPU and of the kind, and the text.
    pub(super) fn add(&mut self, line: &str) {
        let Some((cpu, kind, text)) = parts(line) else {
            self.finished.push(words::named(line));
            return;
        };
        let of_packet = self.unfinished.entry(cpu).or_default();
        if kind == FIRST {
            self.finished.append(of_packet);
        }
        of_packet.push(words::named(text));
        if kind == LAST {
            self.finished.append(of_packet);
        }
    }

    /// Takes the lines of finished packets.
    pub(super) fn take(&mut self) -> Vec<String> {
        mem::take(&mut self.finished)
    }
}

/// The CPU, the kind and the text of a line.
fn parts(line: &str) -> Option<(u32, u32, &str)> {
    let (cpu, line) = line.split_once(' ')?;
    let (kind, text) = line.split_once(' ')?;
    Some((cpu.parse().ok()?, kind.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(lines: &[&str]) -> Vec<String> {
        let mut collected = Collected::default();
        for line in lines {
            collected.add(line);
        }
        collected.take()
    }

    #[test]
    fn the_lines_of_a_packet_stay_together() {
        let lines = [
            "0 1 packet: a",
            "1 1 packet: b",
            "0 0 flow: a",
            "1 2 verdict: passes",
            "0 2 verdict: dropped, reason 1",
            "0 1 packet: without a verdict yet",
        ];
        let want = [
            "packet: b",
            "verdict: passes",
            "packet: a",
            "flow: a",
            "verdict: dropped, reason no-rule",
        ];
        assert_eq!(collected(&lines), want);
    }

    #[test]
    fn a_packet_without_its_last_line_ends_before_the_next_one() {
        let lines = ["0 1 packet: a", "0 0 flow: a", "0 1 packet: b"];
        assert_eq!(collected(&lines), ["packet: a", "flow: a"]);
        let lines = ["0 1 packet: a", "0 0 packet: a, translated", "0 2 verdict: passes"];
        assert_eq!(collected(&lines), ["packet: a", "packet: a, translated", "verdict: passes"]);
    }
}
