//! Ends processes that the commands of killed labs have left running.
//!
//! When a lab is killed, the kernel ends the shell of `--run` with it, but not the processes that
//! the shell has started; these may hold the lab's namespaces. All of them inherit an environment
//! variable that identifies their lab, such as `POLICY_AGENT_LAB=4711:8250123`: process ID and
//! start time of the lab. Where no such process exists, they are orphans.

use std::{collections::BTreeSet, ffi::OsStr};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use procfs::{
    ProcError, ProcResult,
    process::{Process, all_processes},
};

/// The environment variable that identifies a lab.
pub(super) const VARIABLE: &str = "POLICY_AGENT_LAB";

/// Passes over all processes: a process that is forked during one pass is found in the next.
const MAX_PASSES: usize = 8;

/// A lab's process. Together, the two numbers are unique until the machine restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LabId {
    pid: i32,
    /// In clock ticks since boot.
    start_time: u64,
}

/// The value of [`VARIABLE`] for this process.
pub(super) fn own_id() -> ProcResult<String> {
    let LabId { pid, start_time } = LabId::of(&Process::myself()?)?;
    Ok(format!("{pid}:{start_time}"))
}

/// Ends all orphans and returns their number.
///
/// This process and its ancestors are spared: the user may work in a shell that `--run` started.
pub(super) fn end() -> ProcResult<usize> {
    let ancestors = ancestors()?;
    let pid_namespace = pid_namespace(&Process::myself()?)?;
    let mut ended = BTreeSet::new();
    for _ in 0..MAX_PASSES {
        let before = ended.len();
        // Processes may end at any time; one that cannot be read is skipped.
        for process in all_processes()?.flatten().filter(|one| !ancestors.contains(&one.pid())) {
            // A process ID means nothing outside its PID namespace.
            let is_comparable = pid_namespace_is(&process, pid_namespace);
            let pid = Pid::from_raw(process.pid());
            if is_comparable && is_orphan(&process) && kill(pid, Signal::SIGKILL).is_ok() {
                ended.insert(pid);
            }
        }
        if ended.len() == before {
            break;
        }
    }
    Ok(ended.len())
}

/// Process IDs of this process, its parent, and so on.
fn ancestors() -> ProcResult<Vec<i32>> {
    let mut ancestors = Vec::new();
    let mut next = Some(Process::myself()?);
    while let Some(process) = next.take_if(|process| !ancestors.contains(&process.pid())) {
        ancestors.push(process.pid());
        // The parent may have just ended.
        next = process.stat().and_then(|stat| Process::new(stat.ppid)).ok();
    }
    Ok(ancestors)
}

/// Inode number of a process's PID namespace.
fn pid_namespace(process: &Process) -> ProcResult<u64> {
    let namespaces = process.namespaces()?;
    let namespace = namespaces.0.get(OsStr::new("pid"));
    namespace.map(|one| one.identifier).ok_or(ProcError::NotFound(None))
}

fn pid_namespace_is(process: &Process, own: u64) -> bool {
    pid_namespace(process).is_ok_and(|namespace| namespace == own)
}

/// Whether the process was started by a lab that no longer exists.
fn is_orphan(process: &Process) -> bool {
    let environment = process.environ().unwrap_or_default();
    let lab = environment.get(OsStr::new(VARIABLE)).and_then(|value| LabId::parse(value));
    lab.is_some_and(LabId::is_gone)
}

impl LabId {
    fn of(process: &Process) -> ProcResult<Self> {
        let stat = process.stat()?;
        Ok(Self { pid: stat.pid, start_time: stat.starttime })
    }

    fn parse(value: &OsStr) -> Option<Self> {
        let (pid, start_time) = value.to_str()?.split_once(':')?;
        Some(Self { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? })
    }

    /// Whether no process has this ID; where it cannot be read, the lab counts as alive.
    fn is_gone(self) -> bool {
        match Process::new(self.pid).and_then(|process| Self::of(&process)) {
            Ok(found) => found != self,
            Err(error) => matches!(error, ProcError::NotFound(_)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_id_counts() {
        #[rustfmt::skip]
        let cases = [
            ("whole",     "7:99",  Some(LabId { pid: 7, start_time: 99 })),
            ("half",      "7",     None),
            ("no number", "x:99",  None),
            ("nothing",   "",      None),
        ];
        for (claim, value, want) in cases {
            assert_eq!(LabId::parse(OsStr::new(value)), want, "{claim}");
        }
    }

    #[test]
    fn a_process_that_lives_is_not_gone_and_its_pid_alone_is_not_its_id() -> ProcResult<()> {
        let own = LabId::parse(OsStr::new(&own_id()?)).expect("a whole ID");
        assert!(!own.is_gone());
        let earlier = LabId { start_time: own.start_time - 1, ..own };
        assert!(earlier.is_gone());
        Ok(())
    }
}
