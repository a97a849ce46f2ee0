//! Names of the parties of a picture: each party once, by namespace.

use std::collections::BTreeMap;

use super::{listing::Listing, row::Party};

/// The parties that have connections, with a number for each.
#[derive(Default)]
pub(super) struct Names {
    /// Workloads by namespace: name and number.
    pub(super) namespaces: BTreeMap<String, Vec<(String, usize)>>,
    /// Blocks and controllers, with their numbers.
    pub(super) blocks: Vec<(String, usize)>,
    numbers: BTreeMap<String, usize>,
}

impl Names {
    pub(super) fn of(listing: &Listing<'_>) -> Self {
        let mut names = Self::default();
        for row in listing.rows() {
            names.add(&row.from);
            names.add(&row.to);
        }
        names
    }

    /// The number of a party.
    pub(super) fn number(&self, party: &Party<'_>) -> usize {
        self.numbers.get(&party.to_string()).copied().unwrap_or_default()
    }

    fn add(&mut self, party: &Party<'_>) {
        let (text, next) = (party.to_string(), self.numbers.len());
        if self.numbers.contains_key(&text) {
            return;
        }
        match party {
            Party::Workload(name) => {
                let workloads = self.namespaces.entry(name.namespace.clone()).or_default();
                workloads.push((name.name.clone(), next));
            }
            Party::Block(_) | Party::Through(..) => self.blocks.push((text.clone(), next)),
        }
        self.numbers.insert(text, next);
    }
}
