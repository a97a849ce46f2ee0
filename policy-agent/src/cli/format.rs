//! The option `--output` of the commands that print a table.

use clap::ValueEnum;

/// Format of a table on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}
