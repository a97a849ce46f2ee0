//! Stage 5: frontends of Services, judged by their backends.

pub(crate) mod backend_set;
pub(crate) mod frontends;
pub(crate) mod resolve;
