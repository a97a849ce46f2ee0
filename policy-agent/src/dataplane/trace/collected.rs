//! Puts the lines of each packet together: programs on several CPUs write into one ring buffer.
//!
//! A CPU finishes with a packet before it begins the next one, and the line of the verdict is the last:
//!
//! ```text
//! ring buffer                                  lines
//! 0 packet: to 10.1.0.2 port 81                packet: to 10.1.0.3 port 53
//! 1 packet: to 10.1.0.3 port 53                verdict: passes
//! 1 verdict: passes                            packet: to 10.1.0.2 port 81
//! 0 verdict: dropped, reason 1                 verdict: dropped, reason no-rule
//! ```

use std::{collections::BTreeMap, mem};

use super::words;

/// The lines that were read.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// By CPU: those of the packet that it judges.
    unfinished: BTreeMap<u32, Vec<String>>,
    /// Those of packets with a verdict.
    finished: Vec<String>,
}

impl Collected {
    /// Adds a line of the programs: the number of the CPU, and the text.
    pub(super) fn add(&mut self, line: &str) {
        let numbered = line.split_once(' ');
        let numbered = numbered.and_then(|(cpu, text)| Some((cpu.parse().ok()?, text)));
        let Some((cpu, text)) = numbered else {
            self.finished.push(words::named(line));
            return;
        };
        let of_packet = self.unfinished.entry(cpu).or_default();
        of_packet.push(words::named(text));
        if text.starts_with("verdict: ") {
            self.finished.append(of_packet);
        }
    }

    /// Takes the lines of packets with a verdict.
    pub(super) fn take(&mut self) -> Vec<String> {
        mem::take(&mut self.finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_packet_stay_together() {
        let mut collected = Collected::default();
        for line in
            ["0 packet: a", "1 packet: b", "1 verdict: passes", "0 verdict: dropped, reason 1"]
        {
            collected.add(line);
        }
        let lines =
            ["packet: b", "verdict: passes", "packet: a", "verdict: dropped, reason no-rule"];
        assert_eq!(collected.take(), lines);
        collected.add("0 packet: c");
        assert!(collected.take().is_empty(), "its verdict is missing");
    }
}
