//! The `Prefer` header (RFC 7240): how a client says whether it waits (§7.11.2.3).

/// What a client prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefer {
    /// `respond-async`: it does not wait.
    pub respond_async: bool,
    /// `wait=N`: how long it waits at most, in seconds.
    pub wait_s: Option<u32>,
    /// `return=`: what it wants to read.
    pub returns: Option<Return>,
    /// `handling=strict`: what is not understood is refused.
    pub handling_strict: bool,
}

/// The preference `return` (RFC 7240 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Links.
    Minimal,
    /// Values.
    Representation,
}

impl Prefer {
    /// From all `Prefer` headers of a request. Preferences that are unknown or malformed are ignored, as RFC 7240 §2 demands; of
    /// one that comes twice the first counts.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Self {
        let mut prefer = Self::default();
        for preference in headers.into_iter().flat_map(|header| header.split(',')) {
            let token = preference.split(';').next().unwrap_or_default();
            let (name, value) = token.split_once('=').unwrap_or((token, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => prefer.respond_async = true,
                "wait" => prefer.wait_s = prefer.wait_s.or_else(|| value.parse().ok()),
                "return" => {
                    prefer.returns = prefer.returns.or(match value {
                        "minimal" => Some(Return::Minimal),
                        "representation" => Some(Return::Representation),
                        _ => None,
                    });
                }
                "handling" if value == "strict" => prefer.handling_strict = true,
                _ => {}
            }
        }
        prefer
    }

    /// What `self` does not say, `other` says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            respond_async: self.respond_async || other.respond_async,
            wait_s: self.wait_s.or(other.wait_s),
            returns: self.returns.or(other.returns),
            handling_strict: self.handling_strict || other.handling_strict,
        }
    }
}

/// For fuzzing: any header is read or ignored, none may panic.
#[doc(hidden)]
pub fn fuzz_header(header: &str) {
    let _read = Prefer::parse([header]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_come_in_one_header_or_several() {
        let expected = Prefer {
            respond_async: true,
            wait_s: Some(5),
            returns: Some(Return::Minimal),
            handling_strict: false,
        };
        assert!(Prefer::parse(["handling=strict"]).handling_strict);
        assert!(!Prefer::parse(["handling=lenient"]).handling_strict);
        assert_eq!(Prefer::parse(["Respond-Async, wait=5; x=1, return=\"minimal\", wait=9"]), expected);
        assert_eq!(Prefer::parse(["wait=5", "respond-async", "return=minimal"]), expected);
        assert_eq!(Prefer::parse(["wait=soon, respond-asynchronously, ,;=", ""]), Prefer::default());
    }
}
