//! An error in one line.

use std::{error::Error, iter};

/// An error with its causes; one that its effect repeats is told once.
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
        #[error("cannot ask")]
        Alone(#[source] io::Error),
        #[error("cannot ask: {0}")]
        Repeats(#[source] io::Error),
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = || io::Error::other("no answer");
        for outer in [Outer::Alone(cause()), Outer::Repeats(cause())] {
            assert_eq!(chain(&outer), "cannot ask: no answer");
        }
    }
}
