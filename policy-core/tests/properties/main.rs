//! Properties over small clusters in which everything collides.

mod compiled;
mod generate;
mod kernel;
mod oracle;
mod planned;

use policy_core::model::Direction;

const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];
