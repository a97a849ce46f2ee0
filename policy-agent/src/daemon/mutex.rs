//! The lock of what the daemon and the HTTP server's thread share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock; what a thread that panicked left in it is whole, because a write replaces a map or adds a
/// metric.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
