//! Stage 4: what each distinct set of policies allows to each identity.

pub(crate) mod table;
pub(crate) mod tables;
