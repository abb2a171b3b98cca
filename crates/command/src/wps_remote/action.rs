//! `[Action…]`: what becomes of parameters before the executable starts.

use super::defaults::words;
use super::input::Parameter;
use super::table::{Context, Table};
use crate::draft::{At, ini_name_fault};
use crate::ini::Section;
use crate::native::read_schema;
use crate::report::Findings;
use crate::step::{JsonPath, JsonSchema, NAME_TOKEN, Step, StepValue};
use crate::template::{Argument, Template};
use crate::units;
use std::ops::Range;

/// What stands in `target_filepath` for what is found at `json_path_expr`.
const NAME_REFERENCE: &str = "${json_path_expr}";

/// What the actions of a file come to.
#[derive(Default)]
pub(super) struct Actions {
    pub(super) arguments: Vec<(Argument, Range<usize>)>,
    pub(super) steps: Vec<Step>,
}

pub(super) fn read(
    findings: &mut Findings,
    context: &Context<'_>,
    section: &Section,
    parameters: &[Parameter],
    actions: &mut Actions,
) {
    let mut table = Table::new(context, section);
    let Some(class) = table.required(findings, "class") else { return };
    let mut reader = Reader { findings, table, context, parameters };
    match class.value.as_str() {
        "cmdline" => {
            let argument = reader.cmdline();
            actions.arguments.extend(argument.map(|argument| (argument, section.span.clone())));
        }
        "copyfile" => actions.steps.extend(reader.copy()),
        "createJSONfile" => actions.steps.extend(reader.create_json()),
        "updateJSONfile" => actions.steps.extend(reader.update_json()),
        "updateINIfile" => actions.steps.extend(reader.update_ini(false)),
        "updateINIfileList" => actions.steps.extend(reader.update_ini(true)),
        other => {
            let text = format!("class must be {CLASSES}, not {other:?}");
            reader.table.fault(reader.findings, &class.span, text);
            return;
        }
    }
    reader.table.finish(reader.findings);
}

const CLASSES: &str = "cmdline, copyfile, createJSONfile, updateJSONfile, updateINIfile or updateINIfileList";

struct Reader<'a> {
    findings: &'a mut Findings,
    table: Table<'a>,
    context: &'a Context<'a>,
    parameters: &'a [Parameter],
}

impl<'a> Reader<'a> {
    fn parameter(&mut self) -> Option<&'a Parameter> {
        let at = self.table.required(self.findings, "input_ref")?;
        let found = self.parameters.iter().find(|parameter| parameter.name() == at.value);
        if found.is_none() {
            let hint = match units::nearest(&at.value, self.parameters.iter().map(Parameter::name)) {
                Some(near) => format!(", did you mean {near}?"),
                None => String::new(),
            };
            let text = format!("input_ref {:?} is no input or constant of this file{hint}", at.value);
            self.table.fault(self.findings, &at.span, text);
        }
        found
    }

    /// Every `name` in the template is the alias or name, every `value` the value; nothing is looked for in what is put in.
    fn cmdline(&mut self) -> Option<Argument> {
        let parameter = self.parameter();
        let alias = self.table.text(self.findings, "alias");
        let At { value: pattern, span } = self.table.required(self.findings, "template")?;
        let parameter = parameter?;
        let alias = alias.as_ref().map_or_else(|| parameter.name(), |at| at.value.as_str());
        let (mut whole, mut rest) = (Template::default(), pattern.as_str());
        if !rest.contains("name") && !rest.contains("value") {
            let text = format!("template {pattern:?} holds neither name nor value");
            self.table.fault(self.findings, &span, text);
            return None;
        }
        while !rest.is_empty() {
            let next =
                [rest.find("name"), rest.find("value")].into_iter().flatten().min().unwrap_or(rest.len());
            super::table::push(&mut whole, &rest[..next]);
            rest = &rest[next..];
            if let Some(after) = rest.strip_prefix("name") {
                whole.push_text(alias);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("value") {
                parameter.push_to(&mut whole);
                rest = after;
            }
        }
        let mut words = words(&whole);
        if words.len() == 1 { words.pop().map(Argument::One) } else { Some(Argument::Group(words)) }
    }

    fn copy(&mut self) -> Option<Step> {
        let source = self.table.required(self.findings, "source_filepath");
        let from = source.and_then(|at| self.table.place(self.findings, "source_filepath", &at));
        let to = self.target();
        Some(Step::Copy { from: from?, to: to? })
    }

    fn create_json(&mut self) -> Option<Step> {
        let parameter = self.parameter();
        let schema = self.schema();
        let path = self.json_path();
        let target = self.table.required(self.findings, "target_filepath")?;
        let has_name = target.value.contains(NAME_REFERENCE);
        if has_name && path.is_none() {
            let text = format!("target_filepath holds {NAME_REFERENCE}, and json_path_expr says nothing");
            self.table.fault(self.findings, &target.span, text);
        }
        let target = At { value: target.value.replace(NAME_REFERENCE, NAME_TOKEN), span: target.span };
        let to = self.table.run_path(self.findings, "target_filepath", &target);
        let mut value = Template::default();
        parameter?.push_to(&mut value);
        Some(Step::WriteJson { value, schema, name_from: path.filter(|_| has_name), to: to? })
    }

    fn update_json(&mut self) -> Option<Step> {
        let parameter = self.parameter();
        let path = self.json_path();
        if path.is_none() && !self.table.has("json_path_expr") {
            self.table.fault(self.findings, self.table.span(), "json_path_expr is missing");
        }
        let from = self.source();
        let to = self.target();
        let parameter = parameter?;
        let value = match parameter {
            Parameter::Constant { number: Some(number), .. } => StepValue::Number(number.clone()),
            _ => {
                let mut value = Template::default();
                parameter.push_to(&mut value);
                StepValue::Template(value)
            }
        };
        Some(Step::SetJson { value, path: path?, from, to: to? })
    }

    fn update_ini(&mut self, list: bool) -> Option<Step> {
        let parameter = self.parameter();
        let section = self.table.required(self.findings, "section");
        let alias = self.table.text(self.findings, "alias");
        let from = self.source();
        let to = self.target();
        for (key, at) in [("section", &section), ("alias", &alias)] {
            if let Some(at) = at
                && let Some(fault) = ini_name_fault(&at.value)
            {
                self.table.fault(self.findings, &at.span, format!("{key} {:?} {fault}", at.value));
                return None;
            }
        }
        let parameter = parameter?;
        let option = alias.map_or_else(|| parameter.name().to_owned(), |at| at.value);
        let mut value = Template::default();
        parameter.push_to(&mut value);
        Some(Step::SetIni { value, list, section: section?.value, option, from, to: to? })
    }

    fn target(&mut self) -> Option<String> {
        let at = self.table.required(self.findings, "target_filepath")?;
        self.table.run_path(self.findings, "target_filepath", &at)
    }

    fn source(&mut self) -> Option<crate::step::Place> {
        let at = self.table.text(self.findings, "source_filepath")?;
        self.table.place(self.findings, "source_filepath", &at)
    }

    fn json_path(&mut self) -> Option<JsonPath> {
        let at = self.table.text(self.findings, "json_path_expr")?;
        match at.value.parse() {
            Ok(path) => Some(path),
            Err(fault) => {
                self.table.fault(self.findings, &at.span, format!("json_path_expr {fault}"));
                None
            }
        }
    }

    fn schema(&mut self) -> Option<JsonSchema> {
        let at = self.table.plain(self.findings, "json_schema")?;
        match read_schema(&self.context.folder.join(&at.value)) {
            Ok(schema) => Some(schema),
            Err(fault) => {
                self.table.fault(self.findings, &at.span, format!("json_schema {:?} {fault}", at.value));
                None
            }
        }
    }
}
