//! What is left of the commands of labs that were killed.
//!
//! A lab that is killed takes the shell of `--run` along, and not what that started; such a process
//! may hold the lab's namespaces. Every one has a mark in its environment, which names its lab.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The variable with the mark: number and start of the lab's process.
pub(super) const MARK: &str = "POLICY_AGENT_LAB";

/// Looks at the processes; one that is being forked escapes the first.
const LOOKS: usize = 8;

/// The mark of this process.
pub(super) fn mark() -> io::Result<String> {
    let pid = i32::try_from(process::id()).map_err(io::Error::other)?;
    let begin = Process::read(pid)?.begin;
    Ok(format!("{pid}:{begin}"))
}

/// Ends what labs that are gone left; how many.
///
/// Neither this process nor those that it comes from: a shell of such a command may be what the
/// user sits at.
pub(super) fn end() -> io::Result<usize> {
    let spared = lineage()?;
    let own = namespace("self")?;
    let mut ended = BTreeSet::new();
    for _ in 0..LOOKS {
        let before = ended.len();
        for pid in processes()?.into_iter().filter(|pid| !spared.contains(pid)) {
            // Numbers mean something only in the namespace of process numbers that gave them.
            let is_known = namespace(&pid.to_string()).is_ok_and(|other| other == own);
            if is_known && is_orphan(pid) && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok() {
                ended.insert(pid);
            }
        }
        if ended.len() == before {
            break;
        }
    }
    Ok(ended.len())
}

/// What `/proc` says of a process.
struct Process {
    parent: i32,
    /// Clock ticks after the machine's start: with the number, no other process ever has it.
    begin: u64,
}

impl Process {
    fn read(pid: i32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name comes second, in brackets, and may hold anything.
        let (_, fields) = text.rsplit_once(')').ok_or(io::ErrorKind::InvalidData)?;
        let field = |number: usize| fields.split_whitespace().nth(number - 3);
        let parent = field(4).and_then(|text| text.parse().ok());
        let begin = field(22).and_then(|text| text.parse().ok());
        let (parent, begin) = parent.zip(begin).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { parent, begin })
    }
}

/// This process, its parent, and so on.
fn lineage() -> io::Result<Vec<i32>> {
    let mut pid = i32::try_from(process::id()).map_err(io::Error::other)?;
    let mut lineage = Vec::new();
    while pid > 0 && !lineage.contains(&pid) {
        lineage.push(pid);
        // A parent that has just ended has no parent of interest.
        pid = Process::read(pid).map_or(0, |process| process.parent);
    }
    Ok(lineage)
}

fn processes() -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(found)
}

fn namespace(process: &str) -> io::Result<PathBuf> {
    fs::read_link(Path::new("/proc").join(process).join("ns/pid"))
}

/// Whether a process has the mark of a lab that is gone.
fn is_orphan(pid: i32) -> bool {
    // Processes come and go, and a dead one has no environment.
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let Some((lab, begin)) = marked(&environment) else { return false };
    match Process::read(lab) {
        Ok(process) => process.begin != begin,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Number and start of a lab's process.
type Mark = (i32, u64);

/// The lab that an environment names.
fn marked(environment: &[u8]) -> Option<Mark> {
    let mut variables = environment.split(|byte| *byte == 0);
    let prefix = format!("{MARK}=");
    let mark = variables.find_map(|variable| variable.strip_prefix(prefix.as_bytes()))?;
    let (lab, begin) = str::from_utf8(mark).ok()?.split_once(':')?;
    Some((lab.parse().ok()?, begin.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_mark_counts() {
        #[rustfmt::skip]
        let cases: [(&str, &[u8], Option<Mark>); 5] = [
            ("among others",    b"A=b\0POLICY_AGENT_LAB=7:99\0C=d\0", Some((7, 99))),
            ("none",            b"A=b\0LAB=/proc/7/fd/3\0",           None),
            ("another name",    b"MY_POLICY_AGENT_LAB=7:99\0",        None),
            ("half",            b"POLICY_AGENT_LAB=7\0",              None),
            ("nothing",         b"",                                  None),
        ];
        for (claim, environment, want) in cases {
            assert_eq!(marked(environment), want, "{claim}");
        }
    }

    #[test]
    fn a_process_that_lives_is_no_lab_that_is_gone() -> io::Result<()> {
        let mark = mark()?;
        let (lab, begin) = marked(format!("{MARK}={mark}").as_bytes()).expect("a mark");
        assert_eq!(Process::read(lab)?.begin, begin);
        Ok(())
    }
}
