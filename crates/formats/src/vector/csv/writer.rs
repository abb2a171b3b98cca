//! Writes line after line.

use super::{FORMAT, columns};
use crate::crs::Crs;
use crate::vector::{
    Feature, FeatureWriter, FormatError, Geometry, Property, Summary, names, projection, wkt,
};
use std::collections::HashMap;
use std::io::{self, Write};

/// Writes CSV.
pub struct Writer<'a> {
    records: csv::Writer<&'a mut dyn Write>,
    crs: Crs,
    /// The content of the column of the system, where there is one.
    crs_cell: Option<String>,
    place: Place,
    /// Names of properties to columns, counted from the first property.
    columns: HashMap<String, usize>,
}

enum Place {
    Coordinates { has_z: bool },
    Geometry,
}

impl<'a> Writer<'a> {
    /// Writes the first line.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn new(summary: &Summary, out: &'a mut dyn Write) -> Result<Self, FormatError> {
        let crs = summary.crs.unwrap_or(Crs::Crs84);
        let crs_cell = (crs != Crs::Crs84).then(|| format!("EPSG:{}", crs.epsg_code()));
        let place = if summary.has_non_points {
            Place::Geometry
        } else {
            Place::Coordinates { has_z: summary.has_z }
        };
        let mut head: Vec<&str> = match place {
            Place::Geometry => vec![columns::GEOMETRY[0]],
            Place::Coordinates { has_z: false } => vec![columns::X, columns::Y],
            Place::Coordinates { has_z: true } => vec![columns::X, columns::Y, columns::Z],
        };
        head.extend(crs_cell.as_ref().map(|_| columns::CRS));
        // A property may not be taken for a place when the file is read again.
        let mut taken = columns::GEOMETRY.to_vec();
        taken.extend([columns::X, columns::Y, columns::Z, columns::CRS]);
        let names =
            names::unique_in_any_case(summary.columns.iter().map(|column| column.name.clone()), &taken);
        head.extend(names.iter().map(String::as_str));
        let mut records = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        records.write_record(&head).map_err(of_csv)?;
        let columns =
            summary.columns.iter().enumerate().map(|(index, column)| (column.name.clone(), index)).collect();
        Ok(Self { records, crs, crs_cell, place, columns })
    }
}

impl FeatureWriter for Writer<'_> {
    fn write(&mut self, feature: &Feature) -> Result<(), FormatError> {
        projection::check_same(FORMAT, self.crs, feature)?;
        let mut cells: Vec<String> = match (&self.place, &feature.geometry) {
            (Place::Geometry, None) => vec![String::new()],
            (Place::Geometry, Some(geometry)) => vec![wkt::write_text(geometry)],
            (Place::Coordinates { has_z }, None) => vec![String::new(); if *has_z { 3 } else { 2 }],
            (Place::Coordinates { has_z }, Some(Geometry::Point(position))) => {
                let mut cells = vec![position.x.to_string(), position.y.to_string()];
                if *has_z {
                    cells.push(position.z.map(|z| z.to_string()).unwrap_or_default());
                }
                cells
            }
            (Place::Coordinates { .. }, Some(_)) => {
                return Err(unrepresentable(
                    "a geometry that is no point in columns of coordinates".to_owned(),
                ));
            }
        };
        cells.extend(self.crs_cell.clone());
        let mut values = vec![&Property::Null; self.columns.len()];
        for (name, value) in &feature.properties {
            match self.columns.get(name) {
                Some(index) => values[*index] = value,
                None => return Err(unrepresentable(format!("the property {name:?}, which came too late"))),
            }
        }
        for cell in &cells {
            self.records.write_field(cell).map_err(of_csv)?;
        }
        for value in values {
            self.records.write_field(value.text().as_bytes()).map_err(of_csv)?;
        }
        // Ends the record.
        self.records.write_record(None::<&[u8]>).map_err(of_csv)
    }

    fn finish(mut self: Box<Self>) -> Result<(), FormatError> {
        Ok(self.records.flush()?)
    }
}

fn unrepresentable(what: String) -> FormatError {
    FormatError::Unrepresentable { format: FORMAT, what }
}

/// Records of one length go into a file without an error of their own.
fn of_csv(error: csv::Error) -> FormatError {
    FormatError::Io(io::Error::other(error))
}
