//! `[Input…]` and `[Const…]`: what actions refer to.

use super::table::{Context, Table, push};
use crate::draft::{Input, broken_rule, date_format_fault};
use crate::ini::Section;
use crate::report::Findings;
use crate::service::{InputDefault, InputRule};
use crate::template::{Field, Owner, Template};
use anabranch_model::id::check_identifier;
use anabranch_model::{
    ComplexDomain, DataDescription, Format, InputDescription, LiteralDomain, LiteralType, Occurs,
};

/// What an action may refer to.
pub(super) enum Parameter {
    /// Set by clients. Boxed: it is far larger than the other.
    Input(Box<Input>),
    /// Set by the file.
    Constant {
        /// Its name.
        name: String,
        /// Its value.
        value: Template,
        /// It is declared a number.
        number: Option<serde_json::Number>,
    },
}

impl Parameter {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Input(input) => &input.description.id,
            Self::Constant { name, .. } => name,
        }
    }

    /// Appends its value. Complex data counts by its text, not by its file.
    pub(super) fn push_to(&self, template: &mut Template) {
        match self {
            Self::Constant { value, .. } => template.append(value),
            Self::Input(input) => {
                let field = match input.description.data {
                    DataDescription::Complex(_) => Field::Text,
                    DataDescription::Literal(_) | DataDescription::BoundingBox(_) => Field::Value,
                };
                template.push(Owner::Input(input.description.id.clone()), field);
            }
        }
    }

    pub(super) fn into_input(self) -> Option<Input> {
        match self {
            Self::Input(input) => Some(*input),
            Self::Constant { .. } => None,
        }
    }
}

pub(super) fn read(findings: &mut Findings, context: &Context<'_>, section: &Section) -> Option<Parameter> {
    let mut table = Table::new(context, section);
    let class = table.required(findings, "class");
    let name = table.required(findings, "name");
    if let Some(at) = &name
        && let Err(error) = check_identifier(&at.value)
    {
        table.fault(findings, &at.span, format!("name: {error}"));
    }
    let class = class?;
    let parameter = match class.value.as_str() {
        "param" => read_input(findings, &mut table, name.map(|at| at.value)),
        "const" => read_constant(findings, &mut table, name.map(|at| at.value)),
        other => {
            table.fault(findings, &class.span, format!("class must be param or const, not {other:?}"));
            return None;
        }
    };
    table.finish(findings);
    parameter
}

fn read_constant(findings: &mut Findings, table: &mut Table<'_>, name: Option<String>) -> Option<Parameter> {
    let declared = table.text(findings, "type").map(|at| at.value).unwrap_or_default();
    for ignored in ["title", "description"] {
        table.text(findings, ignored);
    }
    let at = table.required(findings, "value")?;
    let is_number = matches!(declared.as_str(), "int" | "float");
    let number = is_number.then(|| at.value.trim().parse().ok()).flatten();
    if is_number && number.is_none() {
        table.fault(findings, &at.span, format!("value {:?} is no {declared}", at.value));
    }
    let mut value = Template::default();
    push(&mut value, &at.value);
    Some(Parameter::Constant { name: name?, value, number })
}

fn read_input(findings: &mut Findings, table: &mut Table<'_>, name: Option<String>) -> Option<Parameter> {
    let declared = table.required(findings, "type");
    let title = table.text(findings, "title").map(|at| at.value);
    let description = table.text(findings, "description").map(|at| at.value).unwrap_or_default();
    let media_type = table.text(findings, "input_mime_type");
    let formatter = table.text(findings, "formatter");
    let default = table.plain(findings, "default");
    let min = table.number(findings, "min");
    let max = table.number(findings, "max");
    let declared = declared?;
    let (kind, is_array) = data_type(&declared.value);
    let mut rule = InputRule {
        id: name.clone().unwrap_or_default(),
        file_name: None,
        default: None,
        date_format: None,
        allow_leading_dash: false,
    };
    let has_default = default.is_some();
    let data = match kind {
        Some(DataType::Literal(data_type)) => {
            let mut domain = LiteralDomain::any(data_type);
            if let Some(at) = &default
                && let Some(broken) = broken_rule(&domain, &at.value)
            {
                table.fault(findings, &at.span, format!("default {:?} {broken}", at.value));
            }
            domain.default = default.map(|at| at.value);
            if let Some(at) = formatter {
                if data_type != LiteralType::DateTime {
                    table.warn(findings, &at.span, "formatter is for type datetime only");
                } else if let Some(fault) = date_format_fault(&at.value) {
                    table.fault(findings, &at.span, format!("formatter {:?} {fault}", at.value));
                } else {
                    rule.date_format = Some(at.value);
                }
            }
            DataDescription::Literal(domain)
        }
        Some(DataType::Complex(declared)) => {
            let format = Format::new(media_type.map_or(declared, |at| at.value));
            if let Some(at) = default {
                if min.as_ref().is_some_and(|min| min.value > 0) {
                    table.warn(
                        findings,
                        &at.span,
                        "default is never taken: min says that a value is required",
                    );
                }
                rule.default = Some(InputDefault::Text(at.value));
            }
            DataDescription::Complex(ComplexDomain { formats: vec![format], bytes_max: None })
        }
        None => {
            let text = format!(
                "type must be int, float, boolean, string, url, datetime or a media type, not {:?}",
                declared.value
            );
            table.fault(findings, &declared.span, text);
            return None;
        }
    };
    let occurs = Occurs {
        min: min.map_or_else(|| u32::from(!has_default), |at| at.value),
        max: match &max {
            Some(at) => Some(at.value),
            None => (!is_array).then_some(1),
        },
    };
    if let Some(at) = max.filter(|at| at.value == 0 || at.value < occurs.min) {
        let text = format!("max {} must be at least 1 and at least min {}", at.value, occurs.min);
        table.fault(findings, &at.span, text);
    }
    let id = name?;
    let title = title.unwrap_or_else(|| id.clone());
    let description = InputDescription { id, title, description, keywords: Vec::new(), occurs, data };
    Some(Parameter::Input(Box::new(Input { span: table.span().clone(), description, rule })))
}

/// What `type` names.
pub(crate) enum DataType {
    Literal(LiteralType),
    /// Its media type.
    Complex(String),
}

/// The type, and whether `[]` says that there may be many. A media type loses `;stream`, which tells the original's server
/// how to open it.
pub(crate) fn data_type(declared: &str) -> (Option<DataType>, bool) {
    let declared = declared.trim();
    let (name, is_array) = match declared.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (declared, false),
    };
    let name = name.strip_suffix(";stream").unwrap_or(name).trim();
    let kind = match name {
        "url" => Some(DataType::Literal(LiteralType::AnyUri)),
        "char" => Some(DataType::Literal(LiteralType::String)),
        "complex" => Some(DataType::Complex("application/octet-stream".into())),
        name if name.contains('/') => Some(DataType::Complex(name.to_owned())),
        name => LiteralType::from_name(name).map(DataType::Literal),
    };
    (kind, is_array)
}
