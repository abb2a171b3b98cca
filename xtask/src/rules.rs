//! Who may not use whom, and why: one line per rule.

use crate::graph::Graph;

/// A crate and the packages it may not use, be it through another package.
pub(crate) struct MayNot {
    crate_: &'static str,
    use_: &'static [&'static [&'static str]],
    because: &'static str,
}

/// Packages that one or two of our crates alone may name in their `Cargo.toml`. The others reach them through these.
pub(crate) struct Only {
    crates: &'static [&'static str],
    uses: &'static [&'static str],
    because: &'static str,
}

const ALGORITHMS: &str = "anabranch-algorithms";
const COMMAND: &str = "anabranch-command";
const DELIVERY: &str = "anabranch-delivery";
const EGRESS: &str = "anabranch-egress";
const ENGINE: &str = "anabranch-engine";
const FORMATS: &str = "anabranch-formats";
const LOGIN: &str = "anabranch-login";
const MODEL: &str = "anabranch-model";
const OGC: &str = "anabranch-ogc";
const REMOTE: &str = "anabranch-remote";
const SERVER: &str = "anabranch-server";
const STREAMING: &str = "anabranch-streaming";
const XMPP: &str = "anabranch-xmpp";

/// All but `model`, which everything may use unless a rule says otherwise.
const OURS: &[&str] =
    &[ALGORITHMS, COMMAND, DELIVERY, EGRESS, ENGINE, FORMATS, LOGIN, OGC, REMOTE, SERVER, STREAMING, XMPP];
const XML: &[&str] = &["quick-xml", "rxml", "xso", "minidom", "xmpp-parsers", "roxmltree", "xml-rs"];
const JSON: &[&str] = &["serde_json", "simd-json", "sonic-rs", "json"];
const RUNTIME: &[&str] = &["tokio", "mio", "async-std", "smol"];
const NETWORK: &[&str] = &["axum", "hyper", "reqwest", "ureq", "rustls", "socket2", EGRESS, REMOTE, XMPP];
const PROTOCOLS: &[&str] = &["axum", "hyper", OGC, REMOTE, SERVER, XMPP];

#[rustfmt::skip]
pub(crate) const MAY_NOT: &[MayNot] = &[
    MayNot { crate_: MODEL,      use_: &[OURS, XML, JSON, RUNTIME, &["axum"]],                       because: "it must outlive every syntax" },
    MayNot { crate_: FORMATS,    use_: &[OURS],                                                      because: "a format is bytes in, bytes out" },
    MayNot { crate_: OGC,        use_: &[&[ENGINE], RUNTIME, NETWORK],                               because: "documents are values; conformance needs no server" },
    MayNot { crate_: ENGINE,     use_: &[&["axum", OGC, XMPP, REMOTE, ALGORITHMS, COMMAND, SERVER, STREAMING]], because: "jobs exist without a protocol" },
    MayNot { crate_: ALGORITHMS, use_: &[&[ENGINE], PROTOCOLS, RUNTIME],                             because: "an algorithm can't know who called it" },
    MayNot { crate_: COMMAND,    use_: &[&[REMOTE, XMPP, ENGINE]],                                   because: "an executable can't know that it is remote; the server can run it too" },
    MayNot { crate_: REMOTE,     use_: &[&[ENGINE, OGC, COMMAND, ALGORITHMS]],                       because: "a remote process is a `Process`, nothing more" },
    MayNot { crate_: XMPP,       use_: &[&[MODEL], OURS],                                            because: "it is an XMPP library" },
    MayNot { crate_: EGRESS,     use_: &[&[MODEL], OURS],                                            because: "it knows HTTP and one policy, nothing of jobs" },
    MayNot { crate_: DELIVERY,   use_: &[&[MODEL, ALGORITHMS, COMMAND, ENGINE, FORMATS, OGC, REMOTE, SERVER, XMPP, "axum"]], because: "a file on its way can't know which job it comes from" },
    MayNot { crate_: STREAMING,  use_: &[&["axum", ALGORITHMS, COMMAND, ENGINE, OGC, REMOTE, SERVER, XMPP]], because: "a process that runs another piece by piece can't know which one, nor who asked" },
    MayNot { crate_: LOGIN,      use_: &[&["axum", ALGORITHMS, COMMAND, DELIVERY, ENGINE, FORMATS, OGC, REMOTE, SERVER, STREAMING, XMPP]], because: "who someone is depends on neither what they ask for nor how it came" },
    MayNot { crate_: SERVER,     use_: &[],                                                          because: "it joins all the others" },
    MayNot { crate_: "e2e",      use_: &[&[MODEL, ALGORITHMS, COMMAND, DELIVERY, ENGINE, FORMATS, LOGIN, OGC, REMOTE, SERVER, STREAMING]], because: "it sees the binary from outside, as its users do; it is a client of HTTP and of XMPP" },
    MayNot { crate_: "xtask",    use_: &[&[MODEL], OURS],                                            because: "it judges the others" },
];

#[rustfmt::skip]
pub(crate) const ONLY: &[Only] = &[
    Only { crates: &[EGRESS],       uses: &["reqwest", "ureq", "isahc", "curl"],   because: "every outbound HTTP request goes under one policy, in one place" },
    Only { crates: &[DELIVERY],     uses: &["suppaftp", "russh", "russh-sftp"], because: "whoever uploads asks for one file in one place, and knows no protocol" },
    Only { crates: &[OGC, FORMATS], uses: &["quick-xml"],                          because: "it breaks its API often, and one place in each refuses DTDs and counts depth" },
    Only { crates: &[XMPP],         uses: &["tokio-xmpp", "xmpp-parsers", "sasl"], because: "they break their API about once a year" },
];

/// Every broken rule, as a line for a reader.
pub(crate) fn broken(graph: &Graph) -> Vec<String> {
    let mut lines = Vec::new();
    for member in graph.members() {
        if !MAY_NOT.iter().any(|rule| rule.crate_ == member) {
            lines.push(format!(
                "{member} has no rule: say in xtask/src/rules.rs what it may not use, and why"
            ));
        }
        for rule in ONLY.iter().filter(|rule| !rule.crates.contains(&member)) {
            for package in rule.uses.iter().filter(|package| graph.uses_directly(member, package)) {
                lines.push(format!(
                    "{member} may not use {package}; only {} does, because {}",
                    rule.crates.join(" or "),
                    rule.because
                ));
            }
        }
    }
    for rule in MAY_NOT {
        for package in rule.use_.iter().copied().flatten() {
            if let Some(path) = graph.path(rule.crate_, package) {
                lines.push(format!(
                    "{} may not use {package}, because {} ({})",
                    rule.crate_,
                    rule.because,
                    path.join(" -> ")
                ));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in edges {
            graph.insert(from, to);
        }
        graph
    }

    #[test]
    fn what_is_allowed_is_not_reported() {
        let allowed = [
            (OGC, MODEL),
            (OGC, "quick-xml"),
            (EGRESS, "reqwest"),
            ("reqwest", "tokio"),
            (ENGINE, EGRESS),
            (SERVER, OGC),
        ];
        assert_eq!(broken(&graph(&allowed)), Vec::<String>::new());
    }

    #[test]
    fn a_forbidden_edge_is_found_with_its_reason() {
        let lines = broken(&graph(&[(ENGINE, OGC), (OGC, MODEL)]));
        assert_eq!(
            lines,
            [
                "anabranch-engine may not use anabranch-ogc, because jobs exist without a protocol (anabranch-engine -> anabranch-ogc)"
            ]
        );
    }

    #[test]
    fn a_forbidden_package_is_found_behind_others() {
        let lines = broken(&graph(&[
            (MODEL, "innocent"),
            ("innocent", "less-so"),
            ("less-so", "serde_json"),
            ("less-so", "innocent"),
        ]));
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].ends_with(
                "it must outlive every syntax (anabranch-model -> innocent -> less-so -> serde_json)"
            ),
            "{}",
            lines[0]
        );
    }

    #[test]
    fn an_http_client_beside_egress_is_found_but_not_behind_it() {
        let mut graph = graph(&[(SERVER, EGRESS), (EGRESS, "reqwest")]);
        graph.insert_member(SERVER);
        assert_eq!(broken(&graph), Vec::<String>::new());
        graph.insert(SERVER, "reqwest");
        assert!(
            broken(&graph)[0].starts_with("anabranch-server may not use reqwest; only anabranch-egress does")
        );
    }

    #[test]
    fn a_crate_without_a_rule_is_found() {
        let mut graph = Graph::default();
        graph.insert_member("anabranch-twelfth");
        assert!(broken(&graph)[0].starts_with("anabranch-twelfth has no rule"));
    }

    #[test]
    fn cargo_s_own_words_are_understood() {
        let metadata = br#"{
            "packages": [{"id": "a#1", "name": "anabranch-model"}, {"id": "b#1", "name": "tokio"}, {"id": "c#1", "name": "serde_json"}],
            "workspace_members": ["a#1"],
            "resolve": {"nodes": [{"id": "a#1", "deps": [
                {"pkg": "b#1", "dep_kinds": [{"kind": "dev"}, {"kind": null}]},
                {"pkg": "c#1", "dep_kinds": [{"kind": "dev"}, {"kind": "build"}]}
            ]}]}
        }"#;
        let graph = Graph::parse(metadata).unwrap();
        assert_eq!(graph.members().collect::<Vec<_>>(), [MODEL]);
        assert!(graph.uses_directly(MODEL, "tokio"));
        assert!(!graph.uses_directly(MODEL, "serde_json"), "a development dependency is in no library");
    }
}
