//! Names of columns.

use std::collections::HashSet;

/// The beginning of a text, of at most so many bytes, without cutting a character.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The same names, each once: a repeated one gets a number, and one without characters the number of its column.
pub(super) fn unique(names: impl IntoIterator<Item = String>) -> Vec<String> {
    distinct(names, HashSet::new(), |name| name.to_owned())
}

/// The same where `a` and `A` are one name, and some are taken.
pub(super) fn unique_in_any_case(names: impl IntoIterator<Item = String>, taken: &[&str]) -> Vec<String> {
    distinct(names, taken.iter().map(|name| (*name).to_owned()).collect(), str::to_lowercase)
}

fn distinct(
    names: impl IntoIterator<Item = String>,
    mut taken: HashSet<String>,
    key: fn(&str) -> String,
) -> Vec<String> {
    names
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            let name = if name.is_empty() { format!("column_{}", index + 1) } else { name };
            let mut unique = name.clone();
            let mut number = 1_u32;
            while !taken.insert(key(&unique)) {
                number += 1;
                unique = format!("{name}_{number}");
            }
            unique
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn repeated_names_get_numbers() {
        let names = ["a", "", "a", "a_2", "a"];
        assert_eq!(
            super::unique_in_any_case(["A", "a", "FID"].map(str::to_owned), &["fid"]),
            ["A", "a_2", "FID_2"]
        );
        let names = names.map(str::to_owned);
        assert_eq!(super::unique(names), ["a", "column_2", "a_2", "a_2_2", "a_3"]);
    }
}
