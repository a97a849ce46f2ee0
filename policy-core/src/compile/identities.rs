//! Stage 3: the identity of each address.

pub(crate) mod addresses;
pub(crate) mod numbers;
