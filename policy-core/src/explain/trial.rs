//! A far end and a port, which rules of either kind of policy are matched against.

use crate::model::{Pod, Protocol, Snapshot};

use super::ends::ResolvedEnd;

/// A far end and a port that rules are matched against.
pub(super) struct Trial<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) protocol: Protocol,
    pub(super) far: &'a ResolvedEnd<'a>,
    /// Where named ports resolve.
    pub(super) destination: Option<&'a Pod>,
    pub(super) port: u16,
}

/// The first entry that is a hit, or all misses; an empty list hits everything (S11, S21).
pub(super) fn first_hit<T>(
    entries: impl Iterator<Item = (usize, T)>,
    hit: impl Fn(&T) -> bool,
) -> Result<Option<usize>, Vec<(usize, T)>> {
    let entries: Vec<_> = entries.collect();
    if entries.is_empty() {
        return Ok(None);
    }
    let found = entries.iter().find(|(_, entry)| hit(entry)).map(|(index, _)| *index);
    found.map_or(Err(entries), |index| Ok(Some(index)))
}
