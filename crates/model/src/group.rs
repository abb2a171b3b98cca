//! Groups: inputs or outputs that belong together. WPS 2.0 nests them (§9.4); the other interfaces show members by their full
//! identifiers, and so does a process see them.
//!
//! A group is what stands before a dot: `region` holds `region.box` and `region.unit`, and `region.grid` in it holds
//! `region.grid.rows`. So one flat list of inputs serves every interface. A dot alone makes no group: it has to be described. A
//! group is given once at most; its members may be given as often as they say.

use serde::{Deserialize, Serialize};

/// What stands between the identifier of a group and the name of a member.
pub const GROUP_SEPARATOR: char = '.';
/// Most groups around an input or output: deeper trees are mistakes or attacks.
pub const GROUP_DEPTH_MAX: usize = 8;

/// A group as its clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDescription {
    /// Identifier, that of the group around it included.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// In sentences; may be empty.
    #[serde(default)]
    pub description: String,
    /// Full identifiers of optional inputs that are required as soon as anything of the group is given.
    #[serde(default)]
    pub needs: Vec<String>,
}

impl GroupDescription {
    /// The input, output or group of that identifier lies in it, at any depth.
    #[must_use]
    pub fn holds(&self, id: &str) -> bool {
        id.strip_prefix(self.id.as_str()).is_some_and(|rest| rest.starts_with(GROUP_SEPARATOR))
    }

    /// What a member is called inside the group; the whole identifier where it is none.
    #[must_use]
    pub fn name_inside<'a>(&self, id: &'a str) -> &'a str {
        if self.holds(id) { &id[self.id.len() + GROUP_SEPARATOR.len_utf8()..] } else { id }
    }
}

/// The groups around an input or output, the outermost first.
#[must_use]
pub fn groups_around<'a>(groups: &'a [GroupDescription], id: &str) -> Vec<&'a GroupDescription> {
    let mut around: Vec<_> = groups.iter().filter(|group| group.holds(id)).collect();
    around.sort_by_key(|group| group.id.len());
    around
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: &str) -> GroupDescription {
        GroupDescription { id: id.into(), title: id.into(), description: String::new(), needs: Vec::new() }
    }

    #[test]
    fn groups_hold_what_follows_their_dot() {
        let groups = [group("a.b"), group("a"), group("ä")];
        let around = |id| groups_around(&groups, id).iter().map(|g| g.id.as_str()).collect::<Vec<_>>();
        assert_eq!(around("a.b.c"), ["a", "a.b"]);
        assert_eq!(around("a.b"), ["a"]);
        assert_eq!(around("ab"), [""; 0]);
        assert_eq!(around("a"), [""; 0]);
        assert_eq!(groups[0].name_inside("a.b.c.d"), "c.d");
        assert_eq!(groups[0].name_inside("b"), "b");
        assert_eq!(groups[2].name_inside("ä.ö"), "ö");
    }
}
