//! Which probes to run against a set of manifests, and the truth table they give.
#![forbid(unsafe_code)]
