//! The command `policy-agent check`: whether this node can run the agent, before it is installed.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::Args;
use comfy_table::{Cell, Color};
use policy_agent::check::{CheckOptions, CheckOutcome, NodeCheck, check};
use policy_probe::{exit, grid, options::TableFormat, terminal};
use tokio::runtime;

use super::{PIN_DIR, cni::Folders};

const HELP: &str = "\
Run it as root in the node's network: on the node itself, or in a pod with hostNetwork and with the
volumes and capabilities of the agent. It changes nothing.

Examples:
  policy-agent check
      print every condition, and what to do where one does not hold
  kubectl -n policy-system exec POD -- /policy-agent check -o json
      the same in an agent's pod, for a program

Exit codes:
  0  every condition holds
  1  a condition does not hold, and the agent may not do everything that is wanted
  2  wrong usage
  3  the agent cannot run on this node, or the check itself failed";

/// Options of `policy-agent check`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct CheckArguments {
    /// Folder of the pins; the same as for `policy-agent run`
    #[arg(long, value_name = "DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,

    #[command(flatten)]
    folders: Folders,

    /// Format of the conditions on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: TableFormat,
}

/// Checks the node and returns the exit code.
pub(super) fn main(arguments: CheckArguments) -> u8 {
    let CheckArguments { pin_dir: pins, folders, output } = arguments;
    let Folders { conf_dir: cni_conf_dir, bin_dir: cni_bin_dir } = folders;
    let options = CheckOptions { pins, cni_conf_dir, cni_bin_dir };
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let checked = runtime.and_then(|runtime| {
        let checks = runtime.block_on(check(&options));
        print(&checks, output)?;
        Ok(checks.iter().map(|check| check.outcome).max())
    });
    match checked {
        Ok(None | Some(CheckOutcome::Ok)) => exit::FINE,
        Ok(Some(CheckOutcome::Warning)) => exit::FINDINGS,
        Ok(Some(CheckOutcome::Failed)) => exit::FAILED,
        Err(error) => {
            terminal::error(&error);
            exit::FAILED
        }
    }
}

fn print(checks: &[NodeCheck], format: TableFormat) -> io::Result<()> {
    let text = match format {
        TableFormat::Json => serde_json::to_string_pretty(checks)? + "\n",
        TableFormat::Table => table(checks),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn table(checks: &[NodeCheck]) -> String {
    let header = ["CHECK", "RESULT", "FOUND"].map(Cell::new).to_vec();
    let rows = checks.iter().map(|NodeCheck { name, outcome, found, .. }| {
        let (text, colour) = match outcome {
            CheckOutcome::Ok => ("ok", Color::Green),
            CheckOutcome::Warning => ("warning", Color::Yellow),
            CheckOutcome::Failed => ("failed", Color::Red),
        };
        vec![Cell::new(name), Cell::new(text).fg(colour), Cell::new(found)]
    });
    let table = grid(header, rows, terminal::style());
    let advice = checks.iter().filter(|check| !check.advice.is_empty());
    let advice: Vec<String> =
        advice.map(|NodeCheck { name, advice, .. }| format!("{name}: {advice}")).collect();
    let rest = if advice.is_empty() { String::new() } else { format!("\n{}\n", advice.join("\n")) };
    format!("{table}\n{rest}")
}
