//! A lab that is kept after its probes.

use std::io;

use nix::sys::signal::Signal;
use policy_manifest::{Expectations, Manifests, Source};
use policy_probe::{exit, input::InputError, options::ProbeOptions, terminal};

use super::{
    Format,
    command::Running,
    file_changes::Changes,
    signals::{self, Signals},
    told,
};
use crate::{Lab, cli::progress::Line};

/// A lab, and what it follows.
pub(super) struct Stay {
    pub(super) lab: Lab,
    pub(super) signals: Signals,
    pub(super) options: ProbeOptions,
    /// The texts that the lab was built from.
    pub(super) sources: Vec<Source>,
    pub(super) output: Format,
}

/// Why a change is not in force.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("the change is not in force everywhere")]
    Lab(#[from] crate::Error),
}

impl Error {
    fn tell(&self) {
        match self {
            Self::Input(error) => drop(error.report()),
            Self::Lab(_) => terminal::error(self),
        }
    }
}

/// What was read after a change.
type Read = Result<(Manifests, Expectations), InputError>;

impl Stay {
    /// Runs a command while the lab stands and follows its files; the command's exit code.
    pub(super) async fn run(self, command: &str) -> io::Result<u8> {
        let Self { mut lab, mut signals, options, sources, output } = self;
        let mut changes = Changes::watch(options.clone(), sources);
        let mut running = match Running::start(command, &lab.describe(), output) {
            Ok(running) => running,
            Err(error) => {
                terminal::error(&error);
                return Ok(exit::FAILED);
            }
        };
        loop {
            tokio::select! {
                biased;
                code = running.wait() => return code,
                signal = signals.next() => running.signal(signal),
                read = changes.next() => match follow(&mut lab, &options, read).await {
                    Ok(_) => eprintln!("note: a change of the files is in force"),
                    Err(error) => error.tell(),
                },
            }
        }
    }

    /// Keeps the lab until a signal, and draws the table again after each change. `code` is the
    /// first table's; the last one's comes back.
    pub(super) async fn hold(self, mut code: u8) -> u8 {
        let Self { mut lab, mut signals, options, sources, output } = self;
        let mut changes = Changes::watch(options.clone(), sources);
        eprintln!("note: the lab stands until Ctrl-C, and follows changes of its files");
        loop {
            let read = tokio::select! {
                biased;
                signal = signals.next() => return end(signal, code),
                read = changes.next() => read,
            };
            let line = Line::new();
            let report = async {
                let expectations = follow(&mut lab, &options, read).await?;
                Ok(lab.probe(&expectations, &line).await?)
            };
            let outcome: Result<_, Error> = tokio::select! {
                biased;
                signal = signals.next() => return end(signal, code),
                outcome = report => outcome,
            };
            drop(line);
            match outcome {
                Ok(report) => code = told(&report, output),
                Err(error) => error.tell(),
            }
        }
    }
}

/// Puts what was read in force, as far as a standing lab can.
async fn follow(lab: &mut Lab, options: &ProbeOptions, read: Read) -> Result<Expectations, Error> {
    let (manifests, expectations) = read?;
    let (manifests, notes) = lab.followed(manifests);
    terminal::notes(&notes);
    let probes = super::probes_if_any(options, &manifests, &expectations)?;
    lab.follow(manifests, &probes).await?;
    Ok(expectations)
}

/// Ctrl-C is how a held lab ends.
fn end(signal: Signal, code: u8) -> u8 {
    if signal == Signal::SIGINT { code } else { signals::code(signal) }
}
