//! The parts of the contract that the programs do not hold yet.

/// Lines that the programs do not hold yet, each with the part that is meant: a packet on which one
/// of them has a say is not compared.
///
/// A line is taken out as soon as the programs hold it.
pub const NOT_HELD: &[&str] = &[
    "S27 drops",
    "S27 life",
    "S27 sender",
    "S29 other side",
    "S31 identifiers",
    "S31 timestamps",
    "S32 flooding",
    "S33",
    "S34",
    "S34 padding",
    "S46 ports",
    "S46 flows",
];

/// Whether the programs hold a line.
pub(crate) fn is_held(line: &str) -> bool {
    !NOT_HELD.contains(&line)
}
