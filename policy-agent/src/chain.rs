//! Formats an error and its causes in one line, for logs and status.

use std::error::Error;

use policy_core::causes::causes;

/// An error followed by its causes: `cannot connect: no route: host is down`.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    causes(error).join(": ")
}
