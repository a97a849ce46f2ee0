//! Contents under their kernel numbers: those that are there, those that a plan adds.

use std::collections::{BTreeMap, BTreeSet};

use policy_common::allow::{DEFAULT_IDENTITY, PortSet};

use crate::desired::{Content, FrontendOutcome, Identity};

use super::{
    Actual, Step,
    entry::{self, Bitmap, Entries, Entry, ports_of, refusal_of},
    indexed::IdentityIndex,
    numbers::Numbers,
};

/// A content's entries, by index: what the compiler made, in the kernel's terms.
pub(super) fn by_index<'a>(
    content: &'a Content,
    mut index: impl FnMut(&'a Identity) -> IdentityIndex,
) -> Entries {
    let mut entries = Entries::new();
    for (identity, ports) in &content.ports {
        entries.insert(index(identity), Entry { ports: ports.clone(), refusal: None });
    }
    for (identity, outcome) in &content.frontends {
        let refusal = match outcome {
            FrontendOutcome::Pass => None,
            FrontendOutcome::Refuse(reason) => Some(*reason),
        };
        entries.insert(index(identity), Entry { refusal, ..Entry::default() });
    }
    entries
}

/// The same by number.
pub(super) fn by_number(entries: &Entries, numbers: &Numbers) -> Entries {
    entries.iter().map(|(&index, entry)| (numbers.of(index), entry.clone())).collect()
}

/// Old outcomes for the numbers of before, new ones for those that are fresh.
///
/// `fresh` says of each whether it is of frontends.
pub(super) fn with_fresh(old: &Entries, new: &Entries, fresh: &BTreeMap<u32, bool>) -> Entries {
    let mut entries = old.clone();
    for (&number, &frontends) in fresh {
        if frontends {
            put_refusal(&mut entries, number, new);
        } else if ports_of(old, DEFAULT_IDENTITY) != ports_of(new, number) {
            let ports = ports_of(new, number).clone();
            entries.insert(number, Entry { ports, refusal: None });
        }
    }
    entries
}

/// New outcomes, and old ones for frontends that are about to go.
pub(super) fn with_removed(old: &Entries, new: &Entries, removed: &BTreeSet<u32>) -> Entries {
    let mut entries = new.clone();
    for &number in removed {
        put_refusal(&mut entries, number, old);
    }
    entries
}

fn put_refusal(entries: &mut Entries, number: u32, from: &Entries) {
    let refusal = refusal_of(from, number);
    if refusal_of(entries, number) != refusal {
        entries.insert(number, Entry { refusal, ..Entry::default() });
    }
}

/// Kernel numbers of contents and bitmaps, old and new.
pub(super) struct Contents<'a> {
    actual: &'a Actual,
    numbers: BTreeMap<Entries, u32>,
    bitmaps: BTreeMap<Bitmap, u32>,
    /// Bitmaps of each content that this plan uses.
    uses: BTreeMap<u32, BTreeSet<u32>>,
    next_content: u32,
    next_bitmap: u32,
    /// Writes of what was asked for since they were last taken.
    steps: Vec<Step>,
}

impl<'a> Contents<'a> {
    /// Takes what is there; `known` are its contents.
    pub(super) fn new(actual: &'a Actual, known: &BTreeMap<u32, Entries>) -> Self {
        let numbers = known.iter().map(|(number, entries)| (entries.clone(), *number)).collect();
        let bitmaps = actual.bitmaps.iter().map(|(number, bits)| (bits.clone(), *number)).collect();
        let uses = actual.contents.iter().map(|(&number, sets)| {
            let bitmaps = sets.iter().map(|set| set.bitmap).filter(|bitmap| *bitmap != 0);
            (number, bitmaps.collect())
        });
        let uses = uses.collect();
        let steps = Vec::new();
        let (next_content, next_bitmap) = (1, 1);
        Self { actual, numbers, bitmaps, uses, next_content, next_bitmap, steps }
    }

    /// The number of a content; its writes are due before any use.
    pub(super) fn number(&mut self, entries: Entries) -> u32 {
        if let Some(&number) = self.numbers.get(&entries) {
            return number;
        }
        while self.actual.contents.contains_key(&self.next_content) {
            self.next_content += 1;
        }
        let content = self.next_content;
        self.next_content += 1;
        let sets: Vec<PortSet> =
            entries.iter().map(|(&number, entry)| self.encode(number, entry)).collect();
        let bitmaps = sets.iter().map(|set| set.bitmap).filter(|bitmap| *bitmap != 0);
        self.uses.insert(content, bitmaps.collect());
        self.numbers.insert(entries, content);
        self.steps.push(Step::PutContent { content, entries: sets });
        content
    }

    fn encode(&mut self, number: u32, entry: &Entry) -> PortSet {
        let (mut set, bitmap) = entry::encode(number, entry);
        let Some(bitmap) = bitmap else { return set };
        if let Some(&known) = self.bitmaps.get(&bitmap) {
            set.bitmap = known;
            return set;
        }
        while self.actual.bitmaps.contains_key(&self.next_bitmap) {
            self.next_bitmap += 1;
        }
        set.bitmap = self.next_bitmap;
        self.next_bitmap += 1;
        self.steps.extend(entry::chunks(set.bitmap, &bitmap).map(Step::PutPortChunk));
        self.bitmaps.insert(bitmap, set.bitmap);
        set
    }

    /// The writes that are due: chunks, then contents one after the other, for they can be put
    /// together.
    pub(super) fn take_steps(&mut self) -> Vec<Step> {
        self.steps.sort_by_key(|step| matches!(step, Step::PutContent { .. }));
        std::mem::take(&mut self.steps)
    }

    /// Deletes what is left when the endpoints refer to `used` alone.
    pub(super) fn leftovers(&self, used: &BTreeSet<u32>) -> Vec<Step> {
        let contents: BTreeSet<u32> = self.numbers.values().copied().collect();
        let contents: BTreeSet<u32> =
            contents.into_iter().chain(self.actual.contents.keys().copied()).collect();
        let contents = contents.difference(used).map(|&content| Step::DeleteContent { content });
        let kept: BTreeSet<u32> =
            used.iter().filter_map(|content| self.uses.get(content)).flatten().copied().collect();
        let bitmaps: BTreeSet<u32> =
            self.bitmaps.values().chain(self.actual.bitmaps.keys()).copied().collect();
        let bitmaps = bitmaps.difference(&kept).map(|&bitmap| Step::DeletePortBitmap { bitmap });
        contents.chain(bitmaps).collect()
    }
}
