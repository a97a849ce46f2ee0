//! Field paths: where in an object something is.

use std::{borrow::Cow, fmt};

use super::Direction;

/// A path from an object to one of its fields, as `spec.ingress[0].from[1]`. The empty path is the
/// object itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Segment>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A field of an object: `.name`.
    Field(Cow<'static, str>),
    /// A key of a mapping with free keys, such as labels: `[key]`.
    Key(String),
    /// An entry of a list, from 0.
    Index(usize),
}

impl FieldPath {
    /// The object itself.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// `spec.NAME`.
    #[must_use]
    pub fn spec(name: impl Into<Cow<'static, str>>) -> Self {
        Self::root().field("spec").field(name)
    }

    /// A rule of a policy of either kind: `spec.ingress[0]`.
    #[must_use]
    pub fn rule(direction: Direction, index: usize) -> Self {
        Self::spec(direction.name()).index(index)
    }

    /// A peer of a rule: `spec.ingress[0].from[1]`.
    #[must_use]
    pub fn peer(direction: Direction, rule: usize, index: usize) -> Self {
        Self::rule(direction, rule).field(peers_field(direction)).index(index)
    }

    /// A field of what this path leads to.
    #[must_use]
    pub fn field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.0.push(Segment::Field(name.into()));
        self
    }

    /// The value of a key in the mapping that this path leads to.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.push(Segment::Key(key.into()));
        self
    }

    /// An entry of the list that this path leads to.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Segment::Index(index));
        self
    }

    /// What it leads through, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether it leads to `outer` itself or to something inside of it.
    #[must_use]
    pub fn is_within(&self, outer: &Self) -> bool {
        self.0.starts_with(&outer.0)
    }

    /// The path to what holds this field; `None` for the object itself.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, outer) = self.0.split_last()?;
        Some(Self(outer.to_vec()))
    }

    /// Whether it is the object itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

/// The field of a rule with its peers: `from` or `to`.
#[must_use]
pub const fn peers_field(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

/// The value of `policyTypes` for a direction.
#[must_use]
pub const fn policy_type(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "Ingress",
        Direction::Egress => "Egress",
    }
}

/// `spec.ingress[0].from[1]`; empty for the object itself.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if at == 0 => f.write_str(name)?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Key(key) => write!(f, "[{key}]")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_in_errors_of_the_api_server() {
        let peer = FieldPath::peer(Direction::Egress, 2, 0);
        let cases = [
            (FieldPath::root(), ""),
            (FieldPath::root().index(3), "[3]"),
            (FieldPath::spec("podSelector"), "spec.podSelector"),
            (FieldPath::rule(Direction::Ingress, 10), "spec.ingress[10]"),
            (FieldPath::spec("selector").key("app"), "spec.selector[app]"),
            (
                peer.field("ipBlock").field("except").index(1),
                "spec.egress[2].to[0].ipBlock.except[1]",
            ),
        ];
        for (path, want) in cases {
            assert_eq!(path.to_string(), want);
        }
    }

    #[test]
    fn only_whole_segments_are_within_a_path() {
        let rule = FieldPath::rule(Direction::Ingress, 1);
        assert!(rule.is_within(&rule));
        assert!(rule.clone().field("from").is_within(&rule));
        assert!(rule.is_within(&FieldPath::root()));
        assert!(!FieldPath::rule(Direction::Ingress, 10).is_within(&rule));
        assert!(!FieldPath::spec("ingressive").is_within(&FieldPath::spec("ingress")));
    }
}
