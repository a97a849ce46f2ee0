//! The list as a picture in SVG, which needs no other program: the crate `layout-rs` places the
//! boxes and the arrows.

use std::io::Write;

use layout::{
    backends::svg::SVGWriter,
    core::{
        base::Orientation,
        color::Color,
        style::{LineStyleKind, StyleAttr},
    },
    std_shapes::{
        render::get_shape_size,
        shapes::{Arrow, Element, LineEndKind, ShapeKind},
    },
    topo::layout::VisualGraph,
};

use super::{listing::Listing, names::Names};
use crate::{error::Error, output};

/// Arrows of a picture at most: placing takes more than linear time, and nobody can read more.
const MOST_ARROWS: usize = 400;

const FONT_SIZE: usize = 14;

/// Writes the picture.
///
/// # Errors
///
/// It would have too many arrows.
pub(super) fn write(
    listing: &Listing<'_>,
    warnings: &[String],
    out: &mut impl Write,
) -> Result<(), Error> {
    let most = MOST_ARROWS;
    let picture = render(listing).ok_or(Error::PictureTooLarge { most })?;
    out.write_all(picture.as_bytes())?;
    // A comment may not hold two hyphens.
    let warnings = warnings.iter().map(|warning| format!("{} -->", warning.replace("--", "- -")));
    let warnings: Vec<String> = warnings.collect();
    writeln!(out)?;
    Ok(output::write_warnings(out, "<!-- warning: ", &warnings)?)
}

/// The picture as text: a box for each workload, an ellipse for what is outside, and an arrow for each
/// row; `None` where it would have too many arrows.
pub(super) fn render(listing: &Listing<'_>) -> Option<String> {
    if listing.rows().nth(MOST_ARROWS).is_some() {
        return None;
    }
    let names = Names::of(listing);
    let mut graph = VisualGraph::new(Orientation::LeftToRight);
    let workloads = names.namespaces.iter().flat_map(|(namespace, workloads)| {
        workloads.iter().map(move |(name, number)| {
            (*number, ShapeKind::new_box(&format!("{namespace}/{name}")), "#e8f0fe")
        })
    });
    let outside = names.blocks.iter();
    let outside = outside.map(|(name, number)| (*number, ShapeKind::new_circle(name), "#fef7e0"));
    let mut shapes: Vec<(usize, ShapeKind, &str)> = workloads.chain(outside).collect();
    shapes.sort_by_key(|(number, ..)| *number);
    let nodes: Vec<_> = shapes
        .into_iter()
        .map(|(_, shape, fill)| {
            let look = StyleAttr::new(Color::fast("black"), 1, Some(colour(fill)), 4, FONT_SIZE);
            let size = get_shape_size(Orientation::LeftToRight, &shape, FONT_SIZE, false);
            graph.add_node(Element::create(shape, look, Orientation::LeftToRight, size))
        })
        .collect();
    for row in listing.rows() {
        let ends = nodes.get(names.number(&row.from)).zip(nodes.get(names.number(&row.to)));
        if let Some((from, to)) = ends {
            graph.add_edge(arrow(&row.ports()), *from, *to);
        }
    }
    let mut svg = SVGWriter::new();
    if !nodes.is_empty() {
        graph.do_it(false, false, false, &mut svg);
    }
    Some(svg.finalize())
}

fn arrow(label: &str) -> Arrow {
    let look = StyleAttr::new(Color::fast("black"), 1, None, 0, FONT_SIZE);
    let (start, end) = (LineEndKind::None, LineEndKind::Arrow);
    Arrow::new(start, end, LineStyleKind::Normal, label, &look, &None, &None)
}

fn colour(web: &str) -> Color {
    let value = u32::from_str_radix(web.trim_start_matches('#'), 16).unwrap_or(0xff_ff_ff);
    // The last byte is the opacity.
    Color::new(value << 8 | 0xff)
}
