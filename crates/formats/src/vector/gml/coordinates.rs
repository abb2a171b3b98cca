//! Positions of GML: `coordinates`, `coord`, `pos` and `posList`, in the order that the reference system's name asks for.

use crate::crs::{AxisOrder, Crs, CrsRef};
use crate::vector::xml::{Element, Xml};
use crate::vector::{FormatError, Position, names};

/// Characters of a wrong number that an error repeats.
const SHOWN_BYTES: usize = 60;

/// What elements say for those within them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    /// By `srsName`.
    pub(super) srs: Option<CrsRef>,
    /// Numbers of a position, by `srsDimension` or, before GML 3.1, `dimension`.
    dimension: Option<usize>,
}

impl Context {
    /// The context within an element.
    pub(super) fn of(self, xml: &Xml, element: &Element) -> Result<Self, FormatError> {
        let mut inner = self;
        if let Some(name) = element.attribute("srsName").filter(|name| !name.trim().is_empty()) {
            inner.srs = Some(Crs::parse(name)?);
        }
        if let Some(text) = element.attribute("srsDimension").or_else(|| element.attribute("dimension")) {
            inner.dimension = Some(match text.trim() {
                "2" => 2,
                "3" => 3,
                other => {
                    let shown = names::cut(other, SHOWN_BYTES);
                    return Err(xml.malformed(format!("must have 2 or 3 as srsDimension, not {shown:?}")));
                }
            });
        }
        Ok(inner)
    }

    pub(super) fn crs(self) -> Crs {
        self.srs.map_or(Crs::Crs84, |srs| srs.crs)
    }

    fn position(self, numbers: &[f64]) -> Option<Position> {
        let (first, second, z) = match *numbers {
            [first, second] => (first, second, None),
            [first, second, z] => (first, second, Some(z)),
            _ => return None,
        };
        Some(match self.srs.map_or(AxisOrder::Xy, CrsRef::order) {
            AxisOrder::Xy => Position { x: first, y: second, z },
            AxisOrder::Yx => Position { x: second, y: first, z },
        })
    }
}

/// Reads the positions of the element whose start tag was read, and leaves it; with the context they stand under. `None` where it is
/// no element of positions, and nothing was read.
pub(super) fn read(
    xml: &mut Xml,
    element: &Element,
    around: Context,
    positions: &mut Vec<Position>,
) -> Result<Option<Context>, FormatError> {
    let context = around.of(xml, element)?;
    match element.name.as_str() {
        "pos" => {
            let numbers = numbers(xml)?;
            let position = context.position(&numbers).ok_or_else(|| {
                xml.malformed(format!("must have 2 or 3 numbers in a pos, not {}", numbers.len()))
            })?;
            positions.push(position);
        }
        "posList" => {
            let numbers = numbers(xml)?;
            // Without a dimension it is two; what can't be two is three, as others read it.
            let even = numbers.len().is_multiple_of(2);
            let guessed = if !even && numbers.len().is_multiple_of(3) { 3 } else { 2 };
            let dimension = context.dimension.unwrap_or(guessed);
            if !numbers.len().is_multiple_of(dimension) {
                let count = numbers.len();
                return Err(xml.malformed(format!(
                    "must have {dimension} numbers for each position of a posList, which has {count} of them"
                )));
            }
            positions.extend(numbers.chunks_exact(dimension).filter_map(|numbers| context.position(numbers)));
        }
        "coordinates" => tuples(xml, element, context, positions)?,
        "coord" => {
            let mut numbers = Vec::new();
            while let Some(child) = xml.child()? {
                if !matches!(child.name.as_str(), "X" | "Y" | "Z") {
                    return Err(xml.malformed(format!("may not have a {} in a coord", child.local_name())));
                }
                let text = xml.text()?;
                numbers.push(number(&text).ok_or_else(|| not_a_number(xml, &text))?);
            }
            let position = context.position(&numbers).ok_or_else(|| {
                xml.malformed(format!("must have 2 or 3 numbers in a coord, not {}", numbers.len()))
            })?;
            positions.push(position);
        }
        _ => return Ok(None),
    }
    Ok(Some(context))
}

/// `1,2 3,4`, where attributes may choose other signs (OGC 02-069 section 4.3.1).
fn tuples(
    xml: &mut Xml,
    element: &Element,
    context: Context,
    positions: &mut Vec<Position>,
) -> Result<(), FormatError> {
    let sign = |name: &str, usual: char| {
        let mut characters = element.attribute(name).unwrap_or_default().chars();
        characters.next().unwrap_or(usual)
    };
    let (decimal, between_numbers, between_tuples) = (sign("decimal", '.'), sign("cs", ','), sign("ts", ' '));
    let text = xml.text()?;
    let is_between =
        |c: char| c == between_tuples || between_tuples.is_ascii_whitespace() && c.is_ascii_whitespace();
    for tuple in text.split(is_between).filter(|tuple| !tuple.trim().is_empty()) {
        let mut numbers = Vec::with_capacity(3);
        for part in tuple.split(between_numbers).take(4) {
            let part = part.trim();
            let found = if decimal == '.' { number(part) } else { number(&part.replace(decimal, ".")) };
            numbers.push(found.ok_or_else(|| not_a_number(xml, tuple.trim()))?);
        }
        positions.push(context.position(&numbers).ok_or_else(|| {
            let shown = names::cut(tuple.trim(), SHOWN_BYTES);
            xml.malformed(format!("must have 2 or 3 numbers in each tuple of coordinates, not {shown:?}"))
        })?);
    }
    Ok(())
}

fn numbers(xml: &mut Xml) -> Result<Vec<f64>, FormatError> {
    let text = xml.text()?;
    let read = |part| number(part).ok_or_else(|| not_a_number(xml, part));
    text.split_ascii_whitespace().map(read).collect()
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

fn not_a_number(xml: &Xml, text: &str) -> FormatError {
    xml.malformed(format!("must have numbers as coordinates, not {:?}", names::cut(text, SHOWN_BYTES)))
}
