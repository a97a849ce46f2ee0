//! Formats an error and its causes in one line, for logs and status.

use std::{error::Error, iter};

/// An error followed by its causes: `cannot connect: no route: host is down`. A cause that the text
/// before already ends with is left out.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let causes = iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot connect")]
        Alone(#[source] io::Error),
        #[error("cannot connect: {0}")]
        Repeats(#[source] io::Error),
    }

    #[test]
    fn a_cause_appears_once() {
        let cause = || io::Error::other("no route");
        for outer in [Outer::Alone(cause()), Outer::Repeats(cause())] {
            assert_eq!(chain(&outer), "cannot connect: no route");
        }
    }
}
