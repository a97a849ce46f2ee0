//! The commands `policy-agent off` and `policy-agent on`: switch the enforcement of this node.
//!
//! They write the switch, which the agent reads every second and after a restart, and wait until the
//! agent's `/status` confirms it.

use std::{
    io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use policy_agent::switch;
use policy_probe::{exit, terminal};
use policy_report::status::Status;

use super::{
    PIN_DIR,
    ask::{AskError, PlaceOptions},
};

/// What `policy-agent off --help` prints below the options.
pub(super) const OFF_HELP: &str = "\
From then on every packet passes. Connections are recorded meanwhile, so that `policy-agent on` cuts
none that the policies allow. The switch stays over restarts of the agent and of its pod, until
`policy-agent on` or a reboot. The log, an Event of the Node, `policy_enforcement_off` and
`policy-agent status` show it.

Examples:
  kubectl -n policy-system exec POD -- /policy-agent off
      switch the node of an agent's pod off
  policy-agent off --pin-dir /sys/fs/bpf/other --address 127.0.0.1:9471
      the same for an agent with other options

Exit codes:
  0  enforcement is off
  2  wrong usage
  3  the switch cannot be written, or no agent confirms it";

/// What `policy-agent on --help` prints below the options.
pub(super) const ON_HELP: &str = "\
Exit codes:
  0  enforcement is on
  1  it is still off, for another reason that is printed
  2  wrong usage
  3  the switch cannot be written, or no agent confirms it";

/// How long to wait for the agent: it may be in the middle of a large change.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two questions to the agent.
const PACE: Duration = Duration::from_millis(200);

/// Options of `policy-agent off` and `policy-agent on`.
#[derive(Debug, Args)]
pub(crate) struct SwitchArguments {
    /// Folder of the pins; the same as for `policy-agent run`
    #[arg(long, value_name = "DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,

    #[command(flatten)]
    place: PlaceOptions,
}

#[derive(Debug, thiserror::Error)]
enum SwitchError {
    #[error("cannot write the switch in {}; it needs root, and an agent that has run with this --pin-dir", pins.display())]
    Write {
        pins: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the switch is written, and no agent confirms it: until an agent runs, packets are judged as \
         before; `policy-agent detach` removes all enforcement at once"
    )]
    NoAgent(#[source] AskError),
    #[error("the switch is written, and the agent did not follow within {} s; its log says why", PATIENCE.as_secs())]
    NotFollowed,
}

/// Switches and returns the exit code.
pub(super) fn main(arguments: &SwitchArguments, off: bool) -> u8 {
    match switch_and_wait(arguments, off) {
        Ok(Status { node, off: None, .. }) => {
            println!("enforcement of node {node} is on");
            exit::FINE
        }
        Ok(Status { node, off: Some(why), .. }) => {
            println!("enforcement of node {node} is off: every packet passes; {why}");
            if off { exit::FINE } else { exit::FINDINGS }
        }
        Err(error) => {
            terminal::error(&error);
            exit::FAILED
        }
    }
}

fn switch_and_wait(arguments: &SwitchArguments, off: bool) -> Result<Status, SwitchError> {
    let SwitchArguments { pin_dir, place } = arguments;
    let failed = |source| SwitchError::Write { pins: pin_dir.clone(), source };
    switch::set(pin_dir, off).map_err(failed)?;
    let (place, start) = (place.place(), Instant::now());
    loop {
        match place.status() {
            Ok(status) if status.off_by_command == off => return Ok(status),
            Ok(_) if start.elapsed() >= PATIENCE => return Err(SwitchError::NotFollowed),
            Err(error) if start.elapsed() >= PATIENCE || !error.is_temporary() => {
                return Err(SwitchError::NoAgent(error));
            }
            Ok(_) | Err(_) => thread::sleep(PACE),
        }
    }
}
