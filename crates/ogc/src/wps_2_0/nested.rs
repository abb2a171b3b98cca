//! Nested inputs and outputs: the tree that WPS 2.0 draws of identifiers with dots (see [`anabranch_model::group`]).

use anabranch_model::GroupDescription;
use anabranch_model::group::{GROUP_DEPTH_MAX, groups_around};

/// An input or output, or a group of them; with what it is called inside the group around it.
#[derive(Debug, PartialEq)]
pub(super) enum Nested<'a, T> {
    One { name: &'a str, item: &'a T },
    Group { name: &'a str, group: &'a GroupDescription, members: Vec<Self> },
}

/// Draws the tree; a group stands where its first member stands.
pub(super) fn nest<'a, T>(
    groups: &'a [GroupDescription],
    items: &'a [T],
    id: fn(&T) -> &str,
) -> Vec<Nested<'a, T>> {
    level(groups, &[], &items.iter().collect::<Vec<_>>(), id)
}

/// The part of the tree inside these groups, which hold all the items.
fn level<'a, T>(
    groups: &'a [GroupDescription],
    around: &[&'a GroupDescription],
    items: &[&'a T],
    id: fn(&T) -> &str,
) -> Vec<Nested<'a, T>> {
    let outer = around.last().copied();
    let (mut nodes, mut drawn) = (Vec::new(), Vec::new());
    for &item in items {
        let Some(&group) = limited(groups_around(groups, id(item))).get(around.len()) else {
            nodes.push(Nested::One { name: name_in(outer, id(item)), item });
            continue;
        };
        if drawn.contains(&group.id.as_str()) {
            continue;
        }
        drawn.push(&group.id);
        let members: Vec<_> = items.iter().copied().filter(|item| group.holds(id(item))).collect();
        let members = level(groups, &[around, &[group]].concat(), &members, id);
        nodes.push(Nested::Group { name: name_in(outer, &group.id), group, members });
    }
    nodes
}

/// What an output is called: the groups around it, the outermost first, and at last itself.
pub(super) fn path<'a>(groups: &'a [GroupDescription], id: &'a str) -> Vec<&'a str> {
    let (mut names, mut outer) = (Vec::new(), None);
    for group in limited(groups_around(groups, id)) {
        names.push(name_in(outer, &group.id));
        outer = Some(group);
    }
    names.push(name_in(outer, id));
    names
}

/// Deeper than [`GROUP_DEPTH_MAX`] nothing is drawn.
fn limited(mut around: Vec<&GroupDescription>) -> Vec<&GroupDescription> {
    around.truncate(GROUP_DEPTH_MAX);
    around
}

fn name_in<'a>(outer: Option<&GroupDescription>, id: &'a str) -> &'a str {
    outer.map_or(id, |group| group.name_inside(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(ids: &[&str]) -> Vec<GroupDescription> {
        let group = |id: &&str| GroupDescription {
            id: (*id).into(),
            title: (*id).into(),
            description: String::new(),
            needs: Vec::new(),
        };
        ids.iter().map(group).collect()
    }

    /// `name(member member …)`.
    fn drawn(tree: &[Nested<'_, String>]) -> String {
        let node = |node: &Nested<'_, String>| match node {
            Nested::One { name, .. } => (*name).to_owned(),
            Nested::Group { name, members, .. } => format!("{name}({})", drawn(members)),
        };
        tree.iter().map(node).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn trees_are_drawn_of_dots() {
        let items: Vec<String> = ["a.x", "b", "a.c.y", "a.c.z.q", "d.e", "a.w"].map(str::to_owned).into();
        let tree = |ids: &[&str]| drawn(&nest(&groups(ids), &items, |id| id));
        assert_eq!(tree(&[]), "a.x b a.c.y a.c.z.q d.e a.w");
        assert_eq!(tree(&["a.c", "a"]), "a(x c(y z.q) w) b d.e");
        assert_eq!(tree(&["a.c.z", "d"]), "a.x b a.c.y a.c.z(q) d(e) a.w");
        let known = groups(&["a", "a.c.z"]);
        assert_eq!(path(&known, "a.c.z.q"), ["a", "c.z", "q"]);
        assert_eq!(path(&known, "b"), ["b"]);
        let chain: Vec<_> = (1..=GROUP_DEPTH_MAX + 2).map(|n| vec!["a"; n].join(".")).collect();
        let chain = groups(&chain.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(path(&chain, "a.a.a.a.a.a.a.a.a.a.b").len(), GROUP_DEPTH_MAX + 1);
    }
}
