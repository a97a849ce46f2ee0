//! IP protocol numbers that rules, frames and the model name.
//!
//! `policy-common` has the same numbers, and a `Direction` as the model has. They are repeated here
//! on purpose: the model shares no code with the programs that it checks, so that a wrong number in
//! one of the two shows as a disagreement.

/// ICMP.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// `ICMPv6`.
pub const ICMPV6: u8 = 58;
/// SCTP.
pub const SCTP: u8 = 132;
