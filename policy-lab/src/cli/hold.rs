//! Keeps a lab after its probes, for `--run` and `--hold`, and applies changes of its files.

use std::io;

use nix::sys::signal::Signal;
use policy_manifest::{Expectations, Manifests, Source};
use policy_probe::{
    exit,
    input::InputError,
    options::{ProbeOptions, TableFormat},
    terminal,
};

use super::{
    command::Command,
    file_changes::FileChanges,
    print_report,
    progress::ProgressLine,
    signals::{self, Signals},
};
use crate::Lab;

/// A running lab and the files that it follows.
pub(super) struct RunningLab {
    pub(super) lab: Lab,
    pub(super) signals: Signals,
    pub(super) options: ProbeOptions,
    /// The texts that the lab was built from.
    pub(super) sources: Vec<Source>,
    pub(super) output: TableFormat,
}

/// Why a change of the files is not in force.
#[derive(Debug, thiserror::Error)]
enum HoldError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("the change is not in force on every node")]
    Lab(#[from] crate::Error),
}

impl HoldError {
    fn print(&self) {
        match self {
            Self::Input(error) => drop(error.report()),
            Self::Lab(_) => terminal::error(self),
        }
    }
}

/// What the files contain after a change.
type Changed = Result<(Manifests, Expectations), InputError>;

impl RunningLab {
    /// Runs a command, applies changes of the files meanwhile, and returns the command's exit code.
    pub(super) async fn run_command(self, command: &str) -> io::Result<u8> {
        let Self { mut lab, mut signals, options, sources, output } = self;
        let mut files = FileChanges::watch(options.clone(), sources);
        let mut command = match Command::start(command, &lab.describe(), output) {
            Ok(command) => command,
            Err(error) => {
                terminal::error(&error);
                return Ok(exit::FAILED);
            }
        };
        loop {
            tokio::select! {
                biased;
                code = command.wait() => return code,
                signal = signals.next() => command.forward(signal),
                changed = files.next() => match apply(&mut lab, &options, changed).await {
                    Ok(_) => eprintln!("note: the change of the files is in force"),
                    Err(error) => error.print(),
                },
            }
        }
    }

    /// Keeps the lab until a signal, and probes after each change of the files.
    ///
    /// `code` is the exit code of the first table; returns the exit code of the last one.
    pub(super) async fn hold(self, mut code: u8) -> u8 {
        let Self { mut lab, mut signals, options, sources, output } = self;
        let mut files = FileChanges::watch(options.clone(), sources);
        eprintln!("note: the lab runs until Ctrl-C and follows changes of its files");
        loop {
            let changed = tokio::select! {
                biased;
                signal = signals.next() => return code_after(signal, code),
                changed = files.next() => changed,
            };
            let line = ProgressLine::new();
            let report = async {
                let expectations = apply(&mut lab, &options, changed).await?;
                Ok(lab.probe(&expectations, &line).await?)
            };
            let outcome: Result<_, HoldError> = tokio::select! {
                biased;
                signal = signals.next() => return code_after(signal, code),
                outcome = report => outcome,
            };
            drop(line);
            match outcome {
                Ok(report) => code = print_report(&report, output),
                Err(error) => error.print(),
            }
        }
    }
}

/// Applies a change as far as a running lab can, and returns the new expectations.
async fn apply(
    lab: &mut Lab,
    options: &ProbeOptions,
    changed: Changed,
) -> Result<Expectations, HoldError> {
    let (manifests, expectations) = changed?;
    let (manifests, notes) = lab.applicable(manifests);
    terminal::notes(&notes);
    let probes = super::probes_if_any(options, &manifests, &expectations)?;
    lab.apply(manifests, &probes).await?;
    Ok(expectations)
}

/// The exit code after a signal; Ctrl-C is the usual end of `--hold` and no failure.
fn code_after(signal: Signal, code: u8) -> u8 {
    if signal == Signal::SIGINT { code } else { signals::code(signal) }
}
