//! What goes to the person at the terminal: results on standard output, everything else on standard error.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

/// A line on standard output. A closed pipe ends the output, not the program.
pub(crate) fn line(text: impl Display) {
    let _closed_pipe = writeln!(std::io::stdout().lock(), "{text}");
}

/// A line on standard error.
pub(crate) fn note(text: impl Display) {
    let _closed_pipe = writeln!(std::io::stderr().lock(), "{text}");
}

/// Someone watches standard error.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// A table with columns as wide as their widest cell; the last one is not padded.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let width =
        |i: usize| rows.iter().map(|row| row[i].chars().count()).chain([head[i].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let print = |cells: [&str; N]| {
        let mut text = String::new();
        for (i, cell) in cells.iter().enumerate() {
            text.push_str(cell);
            if i + 1 < N {
                text.extend(std::iter::repeat_n(' ', widths[i].saturating_sub(cell.chars().count()) + 2));
            }
        }
        line(text);
    };
    print(head);
    for row in rows {
        print(std::array::from_fn(|i| row[i].as_str()));
    }
}
