//! `policyctl completion` and `policyctl man`.

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use policy_probe::exit;

use crate::{error::Error, output};

const COMPLETION: &str = "\
Examples:
  source <(policyctl completion bash)
      for the current shell
  policyctl completion zsh > \"${fpath[1]}/_policyctl\"
      for all future shells";

const MAN: &str = "\
Examples:
  policyctl man | man -l -
      all commands
  policyctl man lint > policyctl-lint.1
      one of them";

#[derive(Debug, Args)]
#[command(after_long_help = COMPLETION)]
pub(crate) struct CompletionArguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_long_help = MAN)]
pub(crate) struct ManArguments {
    /// The command; without it the page of the program itself
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// Prints a script that completes commands and options; the exit code.
pub(crate) fn completion(
    arguments: &CompletionArguments,
    mut command: Command,
) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "policyctl", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(exit::FINE)
}

/// Prints a page of the manual, for `man`; the exit code.
pub(crate) fn man(arguments: &ManArguments, mut command: Command) -> Result<u8, Error> {
    command.build();
    let command = match &arguments.command {
        None => command,
        Some(name) => {
            let unknown = || Error::UnknownCommand { name: name.clone() };
            command.find_subcommand(name).ok_or_else(unknown)?.clone()
        }
    };
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    output::print(&String::from_utf8_lossy(&page))?;
    Ok(exit::FINE)
}
