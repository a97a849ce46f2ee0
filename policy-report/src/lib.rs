//! What an agent reports of its node over HTTP, as types of JSON.
//!
//! `policy-agent` writes these types, and `policyctl` reads them from all nodes. Names of fields are a
//! contract; `docs/flows.md` describes those of flows.
#![forbid(unsafe_code)]

pub mod flows;
pub mod status;
