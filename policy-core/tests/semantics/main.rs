//! One test per line of the contract, named after it, over the compiler and its explanations.

mod attribution;
mod changes;
mod cluster;
mod isolation;
mod many;
mod owners;
mod peers;
mod plans;
mod ports;
mod services;
mod tiers;
mod translation;
