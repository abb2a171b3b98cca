//! How many features go into each chunk of a collection.

/// How features are spread over chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// No two chunks differ by more than one feature, and the larger ones come first.
    Balanced,
    /// What 52°North's implementation of 2012 did: all chunks but the last have the quotient without its fraction, and the last has the rest,
    /// which is nearly half of the data at worst.
    RestLast,
}

/// The sizes of so many chunks of a collection, in order. They are never empty: of fewer features than chunks each is a chunk of its own,
/// and no chunk at all is asked for as one.
#[must_use]
pub fn chunk_sizes(features: u64, chunks: u64, spread: Spread) -> Vec<u64> {
    let chunks = chunks.max(1).min(features);
    let Some(size) = features.checked_div(chunks) else { return Vec::new() };
    let rest = features % chunks;
    let sizes = (0..chunks).map(|index| match spread {
        Spread::Balanced => size + u64::from(index < rest),
        Spread::RestLast => size + if index + 1 == chunks { rest } else { 0 },
    });
    sizes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_spread_evenly_or_as_in_2012() {
        let ones = |count: usize, last: u64| [vec![1; count], vec![last]].concat();
        let twos = [vec![2; 99], vec![1]].concat();
        for (features, chunks, balanced, rest_last) in [
            (10, 4, vec![3, 3, 2, 2], vec![2, 2, 2, 4]),
            (11, 4, vec![3, 3, 3, 2], vec![2, 2, 2, 5]),
            (12, 4, vec![3; 4], vec![3; 4]),
            (7, 7, vec![1; 7], vec![1; 7]),
            (5, 1, vec![5], vec![5]),
            (199, 100, twos, ones(99, 100)),
            (3, 5, vec![1; 3], vec![1; 3]),
            (5, 0, vec![5], vec![5]),
            (0, 3, vec![], vec![]),
        ] {
            assert_eq!(chunk_sizes(features, chunks, Spread::Balanced), balanced);
            assert_eq!(chunk_sizes(features, chunks, Spread::RestLast), rest_last);
        }
    }

    #[test]
    fn nothing_is_lost() {
        for features in 1..60 {
            for chunks in 1..70 {
                for spread in [Spread::Balanced, Spread::RestLast] {
                    let sizes = chunk_sizes(features, chunks, spread);
                    assert_eq!(sizes.iter().sum::<u64>(), features);
                    assert_eq!(sizes.len() as u64, chunks.min(features));
                    assert!(sizes.iter().all(|size| *size > 0));
                }
            }
        }
    }
}
