//! Names of columns.

use std::collections::HashSet;

/// The same names, each once: a repeated one gets a number, and one without characters the number of its column.
pub(super) fn unique(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut taken = HashSet::new();
    names
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            let name = if name.is_empty() { format!("column_{}", index + 1) } else { name };
            let mut unique = name.clone();
            let mut number = 1_u32;
            while !taken.insert(unique.clone()) {
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
        let names = ["a", "", "a", "a_2", "a"].map(str::to_owned);
        assert_eq!(super::unique(names), ["a", "column_2", "a_2", "a_2_2", "a_3"]);
    }
}
