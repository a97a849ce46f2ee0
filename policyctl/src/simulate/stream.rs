//! The truth table as JSON, row by row: that of a large cluster takes more memory than there is.

use std::cell::RefCell;

use policy_manifest::{End, Expectations, MadeUp};
use policy_probe::{ChosenProbes, Row, Table};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{copies, scope::Scope, truth::ProbeJudge};

/// The rows of every source, judged while they are written.
pub(super) struct StreamedTable<'a> {
    pub(super) chosen: &'a ChosenProbes<'a>,
    pub(super) judge: ProbeJudge<'a>,
    pub(super) made_up: &'a MadeUp,
    /// Ends that a person named.
    pub(super) asked: &'a [End],
    /// Whose probes are written; `None` for all.
    pub(super) scope: Option<&'a Scope>,
    /// What was found on the way.
    pub(super) found: RefCell<StreamFound>,
}

/// What was found while rows were written.
#[derive(Debug, Default)]
pub(super) struct StreamFound {
    pub(super) rows: usize,
    pub(super) notes: Vec<String>,
}

impl StreamedTable<'_> {
    /// The rows of a source.
    fn rows(&self, from: &End) -> Vec<Row> {
        let mut probes = self.chosen.of_source(from);
        if let Some(scope) = self.scope {
            scope.retain(&mut probes, &Expectations::default());
        }
        copies::retain(&mut probes, self.made_up, self.asked);
        let mut table = Table::default();
        let mut found = self.found.borrow_mut();
        for probe in probes {
            match self.judge.row(probe) {
                Ok(row) => table.probes.push(row),
                Err(note) => found.notes.push(note),
            }
        }
        found.rows += table.probes.len();
        copies::rename(&mut table, self.made_up, self.asked);
        table.probes
    }
}

/// The schema of [`Table`].
impl Serialize for StreamedTable<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct StreamedRows<'a>(&'a StreamedTable<'a>);
        impl Serialize for StreamedRows<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_seq(self.0.chosen.sources().iter().flat_map(|from| self.0.rows(from)))
            }
        }
        let mut map = to.serialize_map(Some(1))?;
        map.serialize_entry("probes", &StreamedRows(self))?;
        map.end()
    }
}
