//! What the command lines of this project share: options, input, exit codes, messages.
#![forbid(unsafe_code)]

pub mod exit;
pub mod input;
pub mod options;
pub mod sources;
pub mod terminal;
