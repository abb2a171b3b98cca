//! Things with a name, at places that stay theirs: what concerns many of them at once knows them by number, which is looked up without a
//! search and takes four bytes.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// Where a thing is, as long as it is known; then another one may be there.
pub(super) struct Number<T>(u32, PhantomData<fn() -> T>);

impl<T> Number<T> {
    /// A number that was given before, of which only this was kept.
    pub(super) fn from_u32(number: u32) -> Self {
        Self(number, PhantomData)
    }

    pub(super) fn as_u32(self) -> u32 {
        self.0
    }
}

// Derived they would ask the same of what is numbered.
impl<T> Clone for Number<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Number<T> {}

impl<T> PartialEq for Number<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Number<T> {}

impl<T> PartialOrd for Number<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Number<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> Hash for Number<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T> fmt::Debug for Number<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Bounded by whoever fills it: 20,000 agents, 10 million processes and the owners of runs that wait are fewer than there are numbers.
#[derive(Debug)]
pub(super) struct Numbered<N, T> {
    all: Vec<T>,
    /// The lowest is given first.
    unused: BTreeSet<Number<T>>,
    numbers: HashMap<N, Number<T>>,
}

impl<N, T> Default for Numbered<N, T> {
    fn default() -> Self {
        Self { all: Vec::new(), unused: BTreeSet::new(), numbers: HashMap::new() }
    }
}

impl<N: Hash + Eq, T> Numbered<N, T> {
    pub(super) fn number<Q>(&self, name: &Q) -> Option<Number<T>>
    where
        N: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.numbers.get(name).copied()
    }

    pub(super) fn get<Q>(&self, name: &Q) -> Option<&T>
    where
        N: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.number(name).map(|number| &self[number])
    }

    pub(super) fn get_mut<Q>(&mut self, name: &Q) -> Option<&mut T>
    where
        N: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.number(name).map(|number| &mut self[number])
    }

    /// A new one, whose name is not known yet.
    pub(super) fn insert(&mut self, name: N, thing: T) -> Number<T> {
        let number = match self.unused.pop_first() {
            Some(number) => {
                self[number] = thing;
                number
            }
            None => {
                self.all.push(thing);
                Number::from_u32(u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.numbers.insert(name, number);
        number
    }

    /// Forgets the name; the number is given to another one.
    pub(super) fn remove<Q>(&mut self, name: &Q) -> Option<Number<T>>
    where
        N: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let number = self.numbers.remove(name)?;
        self.unused.insert(number);
        Some(number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.numbers.values().map(|number| &self[*number])
    }
}

impl<N, T> Index<Number<T>> for Numbered<N, T> {
    type Output = T;

    fn index(&self, number: Number<T>) -> &T {
        &self.all[number.0 as usize]
    }
}

impl<N, T> IndexMut<Number<T>> for Numbered<N, T> {
    fn index_mut(&mut self, number: Number<T>) -> &mut T {
        &mut self.all[number.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_the_lowest_is_given_again() {
        let mut all = Numbered::<&str, u32>::default();
        let numbers = ["a", "b", "c"].map(|name| all.insert(name, 0));
        all[numbers[1]] = 7;
        assert_eq!((all.get("b"), all.number("x")), (Some(&7), None));
        assert_eq!(["b", "a", "a"].map(|name| all.remove(name)), [Some(numbers[1]), Some(numbers[0]), None]);
        assert_eq!((all.insert("d", 1), all.insert("e", 2)), (numbers[0], numbers[1]));
        assert_eq!((all.insert("f", 3).as_u32(), all.get("b"), all.iter().count()), (3, None, 4));
    }
}
