//! One value for each direction.

use std::ops::{Index, IndexMut};

use super::Direction;

/// A value for ingress and one for egress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerDirection<T> {
    /// For packets to the pod.
    pub ingress: T,
    /// For packets from the pod.
    pub egress: T,
}

impl<T> PerDirection<T> {
    /// Makes the value of each direction, ingress first.
    pub fn from_fn(mut make: impl FnMut(Direction) -> T) -> Self {
        Self { ingress: make(Direction::Ingress), egress: make(Direction::Egress) }
    }

    /// The value of a direction.
    #[must_use]
    pub const fn get(&self, direction: Direction) -> &T {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// The value of a direction, to change it.
    pub const fn get_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }

    /// Both values, ingress first.
    pub fn iter(&self) -> impl Iterator<Item = (Direction, &T)> {
        Direction::BOTH.into_iter().zip([&self.ingress, &self.egress])
    }

    /// Both values, to change them, ingress first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Direction, &mut T)> {
        Direction::BOTH.into_iter().zip([&mut self.ingress, &mut self.egress])
    }

    /// Both values without their directions, ingress first.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        [&self.ingress, &self.egress].into_iter()
    }

    /// The same with another value in each direction.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> PerDirection<U> {
        PerDirection { ingress: change(self.ingress), egress: change(self.egress) }
    }

    /// References to both values.
    #[must_use]
    pub const fn as_ref(&self) -> PerDirection<&T> {
        PerDirection { ingress: &self.ingress, egress: &self.egress }
    }
}

impl<T> Index<Direction> for PerDirection<T> {
    type Output = T;

    fn index(&self, direction: Direction) -> &T {
        self.get(direction)
    }
}

impl<T> IndexMut<Direction> for PerDirection<T> {
    fn index_mut(&mut self, direction: Direction) -> &mut T {
        self.get_mut(direction)
    }
}

impl<T> IntoIterator for PerDirection<T> {
    type Item = T;
    type IntoIter = std::array::IntoIter<T, 2>;

    fn into_iter(self) -> Self::IntoIter {
        [self.ingress, self.egress].into_iter()
    }
}
