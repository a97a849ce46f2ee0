//! The outcomes of the first packets of pods.
//!
//! Input are the lines that `policy-pod first` prints in the pods' logs; output is a count for each
//! kind of try, and how many had the wrong outcome.

use std::fmt;

/// Tries to reach a pod that allows pods of one label only: its agent must have their addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Guarded {
    pub(super) tried: usize,
    pub(super) lost: usize,
    /// Milliseconds that the longest of them took.
    pub(super) longest: u64,
}

/// Tries, and how many had another outcome than the policies demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) allowed: usize,
    pub(super) lost: usize,
    pub(super) denied: usize,
    pub(super) let_through: usize,
    /// From the same node, where the plugin gives the agent the address.
    pub(super) near: Guarded,
    /// From another node, which learns the address only from the pod's status.
    pub(super) far: Guarded,
    /// Servers that called, and those that were then reached.
    pub(super) heard: usize,
    pub(super) reached: usize,
}

impl Outcome {
    /// Counts a line of `policy-pod first`.
    pub(super) fn take(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let [id, outcome, took] = words[..] else { return };
        let is_answered = outcome == "answered";
        match id {
            "allow" => {
                self.allowed += 1;
                self.lost += usize::from(!is_answered);
            }
            "deny" => {
                self.denied += 1;
                self.let_through += usize::from(outcome != "silent");
            }
            "near" | "far" => {
                let guarded = if id == "near" { &mut self.near } else { &mut self.far };
                guarded.tried += 1;
                guarded.lost += usize::from(!is_answered);
                guarded.longest = guarded.longest.max(took.parse().unwrap_or_default());
            }
            _ => {}
        }
    }

    /// The number of tries that were read.
    pub(super) fn tries(&self) -> usize {
        self.allowed + self.denied + self.near.tried + self.far.tried
    }

    /// Whether every try had the outcome that the policies demand.
    pub(super) fn is_clean(&self) -> bool {
        self.lost + self.near.lost + self.let_through + self.reached == 0
    }

    /// Whether every try was let through.
    pub(super) fn is_open(&self) -> bool {
        self.lost == 0 && self.let_through == self.denied && self.reached == self.heard
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed, lost, denied, let_through, near, far, heard, reached } = self;
        write!(
            f,
            "{allowed} must be answered, {lost} lost; {denied} must be denied, {let_through} let through; \
             {heard} servers must not be reached, {reached} reached; \
             to a guarded pod of the same node {near}, of another {far}"
        )
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tried, lost, longest } = self;
        write!(f, "{tried}, {lost} lost, the longest after {longest} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::{Guarded, Outcome};

    #[test]
    fn lines_are_counted_by_what_was_wanted() {
        let lines = "allow answered 3\nallow silent 4000\ndeny silent 4000\ndeny refused 1\n\
            deny answered 2\nnear answered 1030\nfar silent 4000\na line of another program";
        let mut outcome = Outcome::default();
        lines.lines().for_each(|line| outcome.take(line));
        assert_eq!((outcome.allowed, outcome.lost), (2, 1));
        assert_eq!((outcome.denied, outcome.let_through), (3, 2));
        assert_eq!(outcome.near, Guarded { tried: 1, lost: 0, longest: 1030 });
        assert_eq!(outcome.far, Guarded { tried: 1, lost: 1, longest: 4000 });
        assert_eq!(outcome.tries(), 7);
        assert!(!outcome.is_clean() && !outcome.is_open());
    }
}
