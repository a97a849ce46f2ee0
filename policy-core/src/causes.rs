//! The texts of an error and its causes, for logs, status and terminals.

use std::error::Error;

/// The text of an error, followed by those of its causes.
///
/// Some libraries repeat the cause in their own text: a cause that the text before it ends with is
/// left out.
#[must_use]
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut before = error.to_string();
    let mut texts = vec![before.clone()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // By text and not by type: the types are those of kube, hyper, rustls and aya, which this
        // crate must not name, and which of them repeat their cause changes with their versions.
        // Nothing is decided by it: at worst a cause is printed twice.
        if !before.ends_with(&text) {
            texts.push(text.clone());
        }
        before = text;
        next = cause.source();
    }
    texts
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// A text and a cause.
    #[derive(Debug)]
    struct Outer(&'static str, fmt::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn a_cause_appears_once() {
        let cause = fmt::Error.to_string();
        assert_eq!(causes(&Outer("cannot write", fmt::Error)), ["cannot write", &cause]);
        let repeats: &'static str = format!("cannot write: {cause}").leak();
        assert_eq!(causes(&Outer(repeats, fmt::Error)), [repeats]);
    }
}
