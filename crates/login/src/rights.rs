//! What roles may do with processes, and what those see who may not.

use crate::roles::{OPERATOR, Roles, USER};
use anabranch_model::ProcessId;
use serde::Deserialize;
use std::collections::BTreeSet;

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Find a process in lists, and read its description.
    See,
    /// Execute it; who may, sees it too.
    Execute,
    /// Dismiss one's own jobs of it.
    Dismiss,
    /// See, execute and dismiss everything of everyone; the console, and draining agents.
    Operate,
}

/// How processes are shown to those who may not use them, as GeoServer has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Catalogue {
    /// Not in lists, and "no such process" where asked for.
    #[default]
    Hide,
    /// In lists and described; a login is asked for when they are used.
    Challenge,
    /// Not in lists; a login is asked for where they are asked for by name.
    Mixed,
}

/// What a role may do with the processes of some patterns.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Right {
    /// The role's name.
    pub role: String,
    /// Identifiers, with `*` for any characters: `echo`, `default:*`.
    pub processes: Vec<String>,
    /// What.
    pub allow: BTreeSet<Operation>,
}

/// A right that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RightsRefused(String);

/// Whether something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Granted,
    /// It may not, and the process is not to be told of.
    Hidden,
    /// It may not: who has not logged in has to.
    Denied,
}

/// All rights of a server.
#[derive(Clone, Debug)]
pub struct Rights {
    catalogue: Catalogue,
    rights: Vec<Checked>,
}

#[derive(Clone, Debug)]
struct Checked {
    role: String,
    patterns: Vec<glob::Pattern>,
    allow: BTreeSet<Operation>,
}

impl Rights {
    /// Reads them. Where none are given, users may see, execute and dismiss everything, and anonymous callers nothing. The role
    /// `operator` may always do everything.
    ///
    /// # Errors
    /// Names the right and the rule that it breaks.
    pub fn new(catalogue: Catalogue, given: &[Right]) -> Result<Self, RightsRefused> {
        let by_default = [Right {
            role: USER.into(),
            processes: vec!["*".into()],
            allow: [Operation::See, Operation::Execute, Operation::Dismiss].into(),
        }];
        let given = if given.is_empty() { &by_default } else { given };
        Ok(Self { catalogue, rights: given.iter().map(checked).collect::<Result<_, _>>()? })
    }

    /// Whoever has these roles is an operator.
    #[must_use]
    pub fn is_operator(&self, roles: &Roles) -> bool {
        roles.has(OPERATOR) || self.of(roles).any(|right| right.allow.contains(&Operation::Operate))
    }

    /// Whether something may be done with a process.
    #[must_use]
    pub fn access(&self, roles: &Roles, operation: Operation, process: &ProcessId) -> Access {
        if self.may(roles, operation, process) {
            return Access::Granted;
        }
        let visible = self.may(roles, Operation::See, process);
        match self.catalogue {
            Catalogue::Challenge if operation == Operation::See => Access::Granted,
            Catalogue::Hide if !visible => Access::Hidden,
            Catalogue::Hide | Catalogue::Challenge | Catalogue::Mixed => Access::Denied,
        }
    }

    /// Whether a process stands in the lists of whoever has these roles.
    #[must_use]
    pub fn lists(&self, roles: &Roles, process: &ProcessId) -> bool {
        self.catalogue == Catalogue::Challenge || self.may(roles, Operation::See, process)
    }

    /// Whether something may be done with any process at all.
    #[must_use]
    pub fn may_any(&self, roles: &Roles, operation: Operation) -> bool {
        self.is_operator(roles) || self.of(roles).any(|right| right.allow.contains(&operation))
    }

    /// Names those whose lists are the same: everyone by the same key sees the same processes.
    #[must_use]
    pub fn list_key(&self, roles: &Roles) -> String {
        if self.catalogue == Catalogue::Challenge || self.is_operator(roles) {
            return String::new();
        }
        let counts = |role: &&str| self.rights.iter().any(|right| right.role == *role);
        // No role has a control character in its name that counts here: `checked` refuses it.
        roles.names().filter(counts).fold(String::from("\n"), |key, role| key + role + "\n")
    }

    fn of<'a>(&'a self, roles: &'a Roles) -> impl Iterator<Item = &'a Checked> {
        self.rights.iter().filter(|right| roles.has(&right.role))
    }

    fn may(&self, roles: &Roles, operation: Operation, process: &ProcessId) -> bool {
        let grants = |right: &Checked| {
            let allows = right.allow.contains(&operation)
                || (operation == Operation::See && right.allow.contains(&Operation::Execute));
            allows && right.patterns.iter().any(|pattern| pattern.matches(process.as_str()))
        };
        self.is_operator(roles) || self.of(roles).any(grants)
    }
}

fn checked(right: &Right) -> Result<Checked, RightsRefused> {
    let refuse = |rule: String| Err(RightsRefused(format!("login.rights of role {:?}: {rule}", right.role)));
    if right.role.is_empty() || right.role.chars().any(char::is_control) {
        return refuse("role must be a name without control characters".into());
    }
    if right.allow.contains(&Operation::Operate) && right.processes != ["*"] {
        return refuse("who may operate does so with all processes: processes must be [\"*\"]".into());
    }
    let mut patterns = Vec::new();
    for text in &right.processes {
        let is_pattern =
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:~*".contains(c));
        match glob::Pattern::new(text) {
            Ok(pattern) if is_pattern => patterns.push(pattern),
            _ => {
                return refuse(format!(
                    "processes must hold identifiers with * for any characters, not {text:?}"
                ));
            }
        }
    }
    Ok(Checked { role: right.role.clone(), patterns, allow: right.allow.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Operation::{Dismiss, Execute, Operate, See};

    fn right(role: &str, process: &str, allow: &[Operation]) -> Right {
        Right { role: role.into(), processes: vec![process.into()], allow: allow.iter().copied().collect() }
    }

    fn id(text: &str) -> ProcessId {
        ProcessId::new(text).unwrap()
    }

    fn user(roles: &[&str]) -> Roles {
        Roles::of_user(roles.iter().map(|role| (*role).to_owned()))
    }

    #[test]
    fn without_rights_users_may_and_strangers_may_not() {
        let rights = Rights::new(Catalogue::Hide, &[]).unwrap();
        let (nobody, anna, boss) = (Roles::anonymous(), user(&[]), user(&["operator"]));
        assert_eq!(rights.access(&nobody, See, &id("echo")), Access::Hidden);
        assert_eq!(rights.access(&anna, Execute, &id("echo")), Access::Granted);
        assert!(!rights.is_operator(&anna) && rights.is_operator(&boss));
        assert!(!rights.may_any(&nobody, Execute) && rights.may_any(&anna, Execute));
        assert_ne!(rights.list_key(&nobody), rights.list_key(&anna));
    }

    #[test]
    fn the_three_modes_differ_for_those_who_may_not() {
        let given =
            [right("anonymous", "echo", &[Execute]), right("forest", "default:*", &[Execute, Dismiss])];
        let of = |catalogue| Rights::new(catalogue, &given).unwrap();
        let (nobody, hidden) = (Roles::anonymous(), id("default:GdalContour"));
        let shown = |rights: &Rights| {
            (
                rights.lists(&nobody, &hidden),
                rights.access(&nobody, See, &hidden),
                rights.access(&nobody, Execute, &hidden),
            )
        };
        assert_eq!(shown(&of(Catalogue::Hide)), (false, Access::Hidden, Access::Hidden));
        assert_eq!(shown(&of(Catalogue::Challenge)), (true, Access::Granted, Access::Denied));
        assert_eq!(shown(&of(Catalogue::Mixed)), (false, Access::Denied, Access::Denied));
        for catalogue in [Catalogue::Hide, Catalogue::Challenge, Catalogue::Mixed] {
            let rights = of(catalogue);
            assert_eq!(rights.access(&nobody, See, &id("echo")), Access::Granted);
            assert_eq!(rights.access(&nobody, Dismiss, &id("echo")), Access::Denied);
            assert_eq!(rights.access(&user(&["forest"]), Dismiss, &hidden), Access::Granted);
        }
        let hide = of(Catalogue::Hide);
        assert_eq!(hide.list_key(&user(&["forest", "other"])), hide.list_key(&user(&["forest"])));
    }

    #[test]
    fn rights_without_sense_are_refused() {
        let refused = |given| Rights::new(Catalogue::Hide, &[given]).unwrap_err().to_string();
        assert!(refused(right("x", "a/b", &[See])).contains("\"a/b\""));
        assert!(refused(right("x", "[", &[See])).contains("\"[\""));
        assert!(refused(right("", "*", &[See])).contains("role"));
        assert!(refused(right("x", "echo", &[Operate])).contains("operate"));
        let ops = Rights::new(Catalogue::Hide, &[right("ops", "*", &[Operate])]).unwrap();
        assert!(ops.is_operator(&user(&["ops"])));
    }
}
