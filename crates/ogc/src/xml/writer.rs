//! Writing: elements, attributes and text, escaped.

use super::tokens::is_xml_character;
use std::io::{self, Write};

/// Writes a document. Elements are named with the prefixes that the root declares.
pub(crate) struct Writer<'w> {
    out: &'w mut dyn Write,
    open: Vec<Open>,
    in_tag: bool,
}

struct Open {
    name: &'static str,
    has_elements: bool,
}

impl<'w> Writer<'w> {
    /// Begins a document.
    pub(crate) fn document(out: &'w mut dyn Write) -> io::Result<Self> {
        out.write_all(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
        Ok(Self { out, open: Vec::new(), in_tag: false })
    }

    pub(crate) fn start(&mut self, name: &'static str) -> io::Result<()> {
        self.close_tag()?;
        if let Some(parent) = self.open.last_mut() {
            parent.has_elements = true;
        }
        self.new_line()?;
        write!(self.out, "<{name}")?;
        self.in_tag = true;
        self.open.push(Open { name, has_elements: false });
        Ok(())
    }

    /// An attribute of the element that was begun last; nothing may have been written into it.
    pub(crate) fn attribute(&mut self, name: &str, value: &str) -> io::Result<()> {
        write!(self.out, " {name}=\"")?;
        escape(value, true, self.out)?;
        self.out.write_all(b"\"")
    }

    /// The same, where there is a value.
    pub(crate) fn attribute_if(&mut self, name: &str, value: Option<&str>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.attribute(name, value))
    }

    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        escape(text, false, self.content()?)
    }

    /// Where the content of the present element goes; whoever writes there escapes.
    pub(crate) fn content(&mut self) -> io::Result<&mut dyn Write> {
        self.close_tag()?;
        Ok(self.out)
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        let Some(element) = self.open.pop() else { return Ok(()) };
        if self.in_tag {
            self.in_tag = false;
            return self.out.write_all(b"/>");
        }
        if element.has_elements {
            self.new_line()?;
        }
        write!(self.out, "</{}>", element.name)
    }

    /// Ends everything that is open, and the document.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        while !self.open.is_empty() {
            self.end()?;
        }
        self.out.write_all(b"\n")
    }

    /// An element with text only.
    pub(crate) fn leaf(&mut self, name: &'static str, text: &str) -> io::Result<()> {
        self.start(name)?;
        self.text(text)?;
        self.end()
    }

    fn close_tag(&mut self) -> io::Result<()> {
        if !self.in_tag {
            return Ok(());
        }
        self.in_tag = false;
        self.out.write_all(b">")
    }

    fn new_line(&mut self) -> io::Result<()> {
        write!(self.out, "\n{:indent$}", "", indent = 2 * self.open.len())
    }
}

/// Writes text so that it stays text.
pub(crate) fn escape_text(text: &str, out: &mut dyn Write) -> io::Result<()> {
    escape(text, false, out)
}

/// White space that parsers would change is written as a reference; characters that XML can't hold become U+FFFD.
fn escape(text: &str, is_attribute: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let escaped = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\r' => "&#13;",
            '"' if is_attribute => "&quot;",
            '\n' if is_attribute => "&#10;",
            '\t' if is_attribute => "&#9;",
            c if is_xml_character(c) => continue,
            _ => "\u{FFFD}",
        };
        out.write_all(&text.as_bytes()[from..at])?;
        out.write_all(escaped.as_bytes())?;
        from = at + c.len_utf8();
    }
    out.write_all(&text.as_bytes()[from..])
}
