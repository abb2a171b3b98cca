//! Templates of arguments: text with `{placeholders}`.
//!
//! Grammar: `{name}` or `{name.field}` stands for a value; `{{` and `}}` for the braces themselves; all else for itself.

/// What one item of the command line becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// One argument. Left out where an input in it has no value; repeated where one has several.
    One(Template),
    /// Several arguments that are left out or repeated together.
    Group(Vec<Template>),
}

/// Text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Template {
    /// In order.
    pub parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Itself.
    Text(String),
    /// A value.
    Placeholder(Placeholder),
}

/// What stands between braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// Identifier of an input or output, or name of a constant.
    pub name: String,
    /// Which part of its value; `None` takes the value itself.
    pub field: Option<String>,
}
