//! The list as one page of HTML, which loads nothing: a table with a filter, and the picture above it
//! where that is small enough.

use std::{
    fmt::Display,
    io::{self, Write},
};

use super::{listing::Listing, svg};

/// Before the rows. The page may load nothing, whatever a name in it says.
const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>Connections</title>
<style>
:root { color-scheme: light dark; }
body { font-family: system-ui, sans-serif; margin: 1rem; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid #8888; padding: .25rem .75rem .25rem 0; text-align: left; }
input { font: inherit; margin: 1rem 0; min-width: 20rem; }
.picture { background: #fff; color: #000; overflow: auto; max-height: 80vh; }
.warning { border-left: .3rem solid #c60; padding-left: .75rem; }
</style>
</head>
<body>
<h1>Connections</h1>
"#;

/// Above the rows.
const TABLE: &str = r#"<label for="filter">Rows that have all of these words: </label>
<input id="filter" type="search">
<p id="count" role="status"></p>
<table>
<caption>What is allowed; ports in brackets are allowed between some of the pods only.</caption>
<thead><tr><th scope="col">From</th><th scope="col">To</th><th scope="col">Family</th><th scope="col">Ports</th></tr></thead>
<tbody>
"#;

/// Below the rows.
const TAIL: &str = r#"</tbody>
</table>
<script>
const rows = [...document.querySelectorAll("tbody tr")];
const filter = document.getElementById("filter");
function show() {
  const words = filter.value.toLowerCase().split(/\s+/);
  let count = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    count += row.hidden ? 0 : 1;
  }
  document.getElementById("count").textContent = `${count} of ${rows.length} rows`;
}
filter.addEventListener("input", show);
show();
</script>
</body>
</html>
"#;

/// Writes the page.
pub(super) fn write(
    listing: &Listing<'_>,
    warnings: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    out.write_all(HEAD.as_bytes())?;
    for warning in warnings {
        writeln!(out, "<p class=\"warning\">Warning: {}</p>", escaped(warning))?;
    }
    match svg::render(listing) {
        Some(picture) => {
            // The XML declaration is no part of HTML.
            let picture = picture.split_once("?>").map_or(picture.as_str(), |(_, picture)| picture);
            let label = "A box for each workload, and an arrow for each row of the table";
            writeln!(
                out,
                "<div class=\"picture\" role=\"img\" aria-label=\"{label}\">{picture}</div>"
            )?;
        }
        None => writeln!(out, "<p>There are too many rows for a picture.</p>")?,
    }
    out.write_all(TABLE.as_bytes())?;
    for row in listing.rows() {
        let (from, to) = (escaped(&row.from), escaped(&row.to));
        let (families, ports) = (row.families(), escaped(row.ports()));
        writeln!(out, "<tr><td>{from}</td><td>{to}</td><td>{families}</td><td>{ports}</td></tr>")?;
    }
    out.write_all(TAIL.as_bytes())
}

/// A text as HTML has it.
fn escaped(text: impl Display) -> String {
    let mut escaped = String::new();
    for character in text.to_string().chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
