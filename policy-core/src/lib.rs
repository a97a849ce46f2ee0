//! Pure core of the enforcer: the model of a cluster, the compiler, the planner, and explanations.
//!
//! No I/O, no clock, no async; equal input gives equal output, byte for byte.
#![forbid(unsafe_code)]

pub mod adopt;
pub mod attribute;
pub mod causes;
pub mod compile;
pub mod connections;
pub mod explain;
pub mod fault;
pub mod intent;
pub mod lint;
mod lookup;
pub mod model;
pub mod names;
pub mod owner;
pub mod plan;
pub mod ports;

pub use compile::desired;
