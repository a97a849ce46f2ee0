//! What the tools of this repository share: starting programs, installing what the machine lacks,
//! building the product and its images.
//!
//! `cargo xtask` itself and the packages `testbed` and `e2e` use it. It depends on no crate of the
//! product, so that an error there disables no tool.
#![forbid(unsafe_code)]
#![expect(clippy::missing_errors_doc, reason = "every error is shown to the user and ends the run")]
#![expect(clippy::must_use_candidate, reason = "the callers are programs of this repository")]

pub mod bootstrap;
pub mod bpf;
pub mod build;
pub mod command;
pub mod image;
pub mod progress;
