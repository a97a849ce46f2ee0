//! The list as CSV (RFC 4180), with a header.

use std::io::{self, Write};

use csv::Writer;

use super::listing::Listing;

/// A record for each row; ports for some pods only have a column of their own.
pub(super) fn write(listing: &Listing<'_>, out: &mut impl Write) -> io::Result<()> {
    let mut csv = Writer::from_writer(out);
    csv.write_record(["from", "to", "families", "ports", "some_pods_only"])?;
    for row in listing.rows() {
        let (from, to) = (row.from.to_string(), row.to.to_string());
        let ports = [row.ports.to_string(), row.some_pods_only.to_string()];
        csv.write_record([from, to, row.families()].iter().chain(&ports))?;
    }
    csv.flush()
}
