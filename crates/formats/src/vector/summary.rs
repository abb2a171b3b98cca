//! What a first pass over features tells.

use super::{Feature, Geometry, Property};
use crate::crs::Crs;

/// What is common to some features: what writers have to know before the first one.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Summary {
    /// How many.
    pub features: u64,
    /// The system of the first feature.
    pub crs: Option<Crs>,
    /// Every property that any feature has, in the order of first appearance.
    pub columns: Vec<Column>,
    /// Any position has a z.
    pub has_z: bool,
    /// Any geometry is no point.
    pub has_non_points: bool,
}

/// A property that features have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The kind that holds all its values.
    pub kind: ColumnKind,
}

/// Kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Only nulls so far.
    Null,
    /// Booleans.
    Boolean,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// Characters, or values of several kinds.
    Text,
    /// JSON objects and arrays.
    Json,
}

impl ColumnKind {
    /// The kind of one value.
    #[must_use]
    pub fn of(property: &Property) -> Self {
        match property {
            Property::Null => Self::Null,
            Property::Boolean(_) => Self::Boolean,
            Property::Integer(_) => Self::Integer,
            Property::Number(_) => Self::Number,
            Property::Text(_) => Self::Text,
            Property::Json(_) => Self::Json,
        }
    }

    /// The kind that holds values of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Null, kind) | (kind, Self::Null) => kind,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            _ => Self::Text,
        }
    }
}

impl Summary {
    /// Takes one more feature in.
    pub fn add(&mut self, feature: &Feature) {
        self.features += 1;
        self.crs.get_or_insert(feature.crs);
        for (name, property) in &feature.properties {
            let kind = ColumnKind::of(property);
            match self.columns.iter_mut().find(|column| column.name == *name) {
                Some(column) => column.kind = column.kind.with(kind),
                None => self.columns.push(Column { name: name.clone(), kind }),
            }
        }
        self.has_non_points |=
            feature.geometry.as_ref().is_some_and(|geometry| !matches!(geometry, Geometry::Point(_)));
        self.has_z |= feature.geometry.as_ref().is_some_and(Geometry::has_z);
    }
}
