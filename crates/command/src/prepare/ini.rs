//! Setting an option of an INI file, line by line: what is not set stays byte for byte.

/// The text with the option set; `None` where there is no such section. An option that is not there is added at the end of its
/// section.
pub(super) fn set(text: &str, section: &str, option: &str, value: &str) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let header = lines.iter().position(|line| header_name(line) == Some(section))?;
    let end = lines[header + 1..].iter().position(|line| header_name(line).is_some());
    let end = end.map_or(lines.len(), |at| header + 1 + at);
    let found =
        (header + 1..end).find(|at| key_of(lines[*at]).is_some_and(|key| key.eq_ignore_ascii_case(option)));
    let ending = if lines[header].ends_with("\r\n") { "\r\n" } else { "\n" };
    let (before, entry, after) = match found {
        Some(at) => {
            let key = key_of(lines[at]).unwrap_or(option);
            let continued =
                lines[at + 1..end].iter().take_while(|line| line.starts_with([' ', '\t'])).count();
            (at, format!("{key} = {value}{ending}"), at + 1 + continued)
        }
        None => {
            let blank = lines[header + 1..end].iter().rev().take_while(|line| line.trim().is_empty()).count();
            (end - blank, format!("{option} = {value}{ending}"), end - blank)
        }
    };
    let mut whole = lines[..before].concat();
    if !whole.is_empty() && !whole.ends_with('\n') {
        whole.push_str(ending);
    }
    whole.push_str(&entry);
    whole.push_str(&lines[after..].concat());
    Some(whole)
}

/// `a,b` as `["a","b"]`, the list of WPS Remote.
pub(super) fn list(text: &str) -> String {
    let items: Vec<String> =
        text.split(',').map(|item| serde_json::Value::String(item.trim().to_owned()).to_string()).collect();
    format!("[{}]", items.join(","))
}

fn header_name(line: &str) -> Option<&str> {
    Some(line.strip_prefix('[')?.split_once(']')?.0)
}

fn key_of(line: &str) -> Option<&str> {
    if line.starts_with([' ', '\t', '#', ';', '[']) {
        return None;
    }
    Some(line[..line.find(['=', ':'])?].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_stays_as_it_is() {
        let text = "# c\n[S1]\nCount = 1\n  more\nother : x ; note\n\n[S2]\ncount=2";
        let set = |section, option| set(text, section, option, "8");
        let first = "# c\n[S1]\nCount = 8\nother : x ; note\n\n[S2]\ncount=2";
        assert_eq!(set("S1", "count").as_deref(), Some(first));
        assert_eq!(
            set("S2", "COUNT").as_deref(),
            Some("# c\n[S1]\nCount = 1\n  more\nother : x ; note\n\n[S2]\ncount = 8\n")
        );
        let added = "# c\n[S1]\nCount = 1\n  more\nother : x ; note\nnew = 8\n\n[S2]\ncount=2";
        assert_eq!(set("S1", "new").as_deref(), Some(added));
        assert!(set("S2", "new").unwrap().ends_with("count=2\nnew = 8\n"));
        assert_eq!(set("S3", "new"), None);
    }

    #[test]
    fn lists_are_quoted() {
        assert_eq!(list("a, b,\"c"), r#"["a","b","\"c"]"#);
    }
}
