//! GDAL's progress bar: `0...10...20...30...40...50...60...70...80...90...100 - done.`, written without an end of line.

/// The percentage that a (partial) line has reached: the last number, and 2.5 for each dot behind it.
/// `None` where the line is no such bar.
pub(crate) fn percent(line: &str) -> Option<f32> {
    let mut rest = line.trim_start().strip_prefix('0')?;
    let mut reached = 0_u8;
    loop {
        let dots = rest.bytes().take_while(|byte| *byte == b'.').count();
        rest = &rest[dots..];
        if rest.is_empty() && dots <= 3 {
            #[expect(clippy::cast_precision_loss, reason = "three at most")]
            let behind = dots as f32 * 2.5;
            // A bare "0" is as likely a result as the beginning of a bar.
            return (reached > 0 || dots > 0).then_some(f32::from(reached) + behind);
        }
        reached += 10;
        // A number whose second digit has not come yet counts as not there.
        let number = reached.to_string();
        match rest.strip_prefix(number.as_str()) {
            Some(after) if dots == 3 => rest = after,
            _ if dots == 3 && number.starts_with(rest) => return Some(f32::from(reached)),
            _ => return None,
        }
        if reached == 100 {
            return Some(100.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_the_bar_is_understood_and_never_falls() {
        let bar = "0...10...20...30...40...50...60...70...80...90...100 - done.";
        let mut before = 0.0;
        for end in 2..=bar.len() {
            let now = percent(&bar[..end]).unwrap_or_else(|| panic!("{:?} is not understood", &bar[..end]));
            assert!(now >= before, "{:?} fell from {before} to {now}", &bar[..end]);
            before = now;
        }
        assert_eq!(percent("0...10...20."), Some(22.5));
        assert!((before - 100.0).abs() < f32::EPSILON);
    }

    #[test]
    fn other_lines_are_not() {
        for line in ["", "0", "0.5", "0....", "0...11", "Input file size is 3, 4", "0..10", "10...20"] {
            assert_eq!(percent(line), None, "{line:?}");
        }
    }
}
