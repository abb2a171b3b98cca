//! Decimal text to the nearest double.
//!
//! A number of at most 53 bits of digits and at most 22 decimals is one exact integer divided by one exact power of ten, and
//! IEEE 754 rounds a single division correctly (Clinger 1990, "How to read floating point numbers accurately", the fast
//! case). All coordinates people write are of that kind; the rest goes through the standard library, which gives the same
//! double more slowly.

/// Every power of ten that is exact as a double.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Up to here every integer is exact as a double.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// As many digits as always fit a `u64`.
const DIGITS_MAX: usize = 19;

const RULE: &str = "a number must be written as JSON writes it, e.g. -12.5 or 3e-7";

/// Reads the number at `at`; gives it with the offset behind it. The grammar is that of RFC 8259 §6:
/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`. May be infinite where the number is too large for a double.
#[inline]
pub(super) fn read(bytes: &[u8], at: usize) -> Result<(f64, usize), &'static str> {
    let negative = bytes.get(at) == Some(&b'-');
    let whole_at = at + usize::from(negative);
    let (mut mantissa, whole_end) = digits(bytes, whole_at, 0);
    let mut end = whole_end;
    if end == whole_at || (bytes[whole_at] == b'0' && end - whole_at > 1) {
        return Err(RULE);
    }
    let mut decimals = 0;
    if bytes.get(end) == Some(&b'.') {
        (mantissa, end) = digits(bytes, whole_end + 1, mantissa);
        decimals = end - whole_end - 1;
        if decimals == 0 {
            return Err(RULE);
        }
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        end = exponent_end(bytes, end + 1)?;
        return Ok((parse_slowly(&bytes[at..end]), end));
    }
    // Digits beyond `DIGITS_MAX` have wrapped the mantissa: then its value means nothing.
    if whole_end - whole_at + decimals > DIGITS_MAX || mantissa > EXACT_INTEGER_MAX {
        return Ok((parse_slowly(&bytes[at..end]), end));
    }
    #[allow(clippy::cast_precision_loss)] // exact up to EXACT_INTEGER_MAX
    let magnitude = mantissa as f64 / POWERS_OF_TEN[decimals];
    Ok((if negative { -magnitude } else { magnitude }, end))
}

/// Appends digits to a mantissa, wrapping; gives it with the offset behind the digits.
#[inline]
fn digits(bytes: &[u8], mut at: usize, mut mantissa: u64) -> (u64, usize) {
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (mantissa, at)
}

/// Most digits before the point that [`read_plain`] takes.
const PLAIN_WHOLE_DIGITS_MAX: usize = 7;

/// As [`read`], for numbers as most coordinates are written: up to 7 digits, perhaps a point and up to 15 decimals, with 8
/// bytes to spare behind them. `None` means nothing: the number may be fine. What follows it is not looked at: an exponent or more
/// digits may.
///
/// Digits before the point are few and as many as in the number before: the processor foresees the loop. Decimals are read
/// eight at once.
#[inline(always)]
pub(super) fn read_plain(bytes: &[u8], at: usize) -> Option<(f64, usize)> {
    let negative = *bytes.get(at)? == b'-';
    let whole_at = at + usize::from(negative);
    let (whole, point) = digits(bytes, whole_at, 0);
    let whole_digits = point - whole_at;
    if whole_digits == 0 || whole_digits > PLAIN_WHOLE_DIGITS_MAX {
        return None;
    }
    if whole_digits > 1 && bytes[whole_at] == b'0' {
        return None;
    }
    let (mut decimals, mut count, mut end) = (0, 0, point);
    if *bytes.get(point)? == b'.' {
        (decimals, end) = plain_decimals(bytes, point + 1)?;
        count = end - point - 1;
        // 7 + 15 digits may not fit a `u64`.
        if count == 0 || whole_digits + count > DIGITS_MAX {
            return None;
        }
    }
    let mantissa = whole * INTEGER_POWERS_OF_TEN[count] + decimals;
    if mantissa > EXACT_INTEGER_MAX {
        return None;
    }
    #[allow(clippy::cast_precision_loss)] // exact up to EXACT_INTEGER_MAX
    let magnitude = mantissa as f64 / POWERS_OF_TEN[count];
    Some((if negative { -magnitude } else { magnitude }, end))
}

/// As [`read_plain`], for numbers as most degrees are written: up to 3 digits, a point and up to 7 decimals. Such a number is exact without
/// being asked, and there is one way through here.
#[inline(always)]
pub(super) fn read_degrees(bytes: &[u8], at: usize) -> Option<(f64, usize)> {
    let negative = *bytes.get(at)? == b'-';
    let whole_at = at + usize::from(negative);
    let characters = eight_bytes(bytes, whole_at)?;
    let digit = |place: usize| (characters >> (8 * place) & 0xff) ^ u64::from(b'0');
    let (whole, whole_digits) = match (digit(0), digit(1), digit(2), digit(3)) {
        (10.., ..) => return None,
        (a, 10.., ..) => (a, 1),
        (0, ..) => return None,
        (a, b, 10.., _) => (10 * a + b, 2),
        (a, b, c, 10..) => (100 * a + 10 * b + c, 3),
        _ => return None,
    };
    if characters >> (8 * whole_digits) & 0xff != u64::from(b'.') {
        return None;
    }
    let decimals_at = whole_at + whole_digits + 1;
    let (decimals, count) = up_to_eight_digits(eight_bytes(bytes, decimals_at)?);
    if !(1..8).contains(&count) {
        return None;
    }
    #[allow(clippy::cast_precision_loss)] // 10 digits
    let magnitude = (whole * INTEGER_POWERS_OF_TEN[count] + decimals) as f64 / POWERS_OF_TEN[count];
    Some((if negative { -magnitude } else { magnitude }, decimals_at + count))
}

/// Up to 15 decimals and the offset behind them.
#[inline(always)]
fn plain_decimals(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let (value, count) = up_to_eight_digits(eight_bytes(bytes, at)?);
    if count < 8 {
        return Some((value, at + count));
    }
    if !bytes.get(at + 8)?.is_ascii_digit() {
        return Some((value, at + 8));
    }
    let (more, more_count) = up_to_eight_digits(eight_bytes(bytes, at + 8)?);
    (more_count < 8).then(|| (value * INTEGER_POWERS_OF_TEN[more_count] + more, at + 8 + more_count))
}

#[inline(always)]
fn eight_bytes(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|eight| u64::from_le_bytes(*eight))
}

const INTEGER_POWERS_OF_TEN: [u64; 16] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
    1_000_000_000_000,
    10_000_000_000_000,
    100_000_000_000_000,
    1_000_000_000_000_000,
];

/// The value and count of the digits at the start of eight characters, the first in the lowest byte.
#[inline(always)]
fn up_to_eight_digits(characters: u64) -> (u64, usize) {
    let values = characters ^ 0x3030_3030_3030_3030;
    // Adding 0x76 sets the high bit of every byte above 9; a carry only reaches bytes behind the first of them.
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let count = others.trailing_zeros() as usize / 8;
    if count == 0 {
        return (0, 0);
    }
    // Leading zeros instead of what follows the digits; then neighbours are joined: 1 + 1, 2 + 2, 4 + 4 digits.
    let digits = values << (64 - 8 * count);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(1_000_000 << 32 | 100);
    let low = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(10_000 << 32 | 1);
    (high.wrapping_add(low) >> 32, count)
}

fn exponent_end(bytes: &[u8], at: usize) -> Result<usize, &'static str> {
    let digits_at = at + usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
    let (_value, end) = digits(bytes, digits_at, 0);
    if end == digits_at { Err(RULE) } else { Ok(end) }
}

/// The grammar is checked, so that it parses; what could not is refused later as no finite number.
#[cold]
fn parse_slowly(bytes: &[u8]) -> f64 {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_standard_library_to_the_bit() {
        let mut texts: Vec<String> = [
            "0",
            "-0",
            "-0.0",
            "1",
            "10",
            "1E-7",
            "1e400",
            "-1e400",
            "0.1",
            "9007199254740993",
            "123456789012345678901234567890",
            "0.3333333333333333333333333333",
            "5e-324",
            "1.7976931348623157e308",
            "13.404953999999998",
        ]
        .map(str::to_owned)
        .to_vec();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let decimals = (state % 24) as usize;
            texts.push(format!("{}.{:0decimals$}1", state >> (state % 60), state % 1_000_000));
        }
        let (mut plain_count, mut degrees_count) = (0, 0);
        for text in texts {
            let (value, end) = read(text.as_bytes(), 0).unwrap();
            assert_eq!(end, text.len(), "{text}");
            assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
            let padded = format!("{text},          ");
            if let Some((degrees, end)) =
                read_degrees(padded.as_bytes(), 0).filter(|(_, end)| *end == text.len())
            {
                assert_eq!((degrees.to_bits(), end), (value.to_bits(), text.len()), "{text}");
                degrees_count += 1;
            }
            if let Some((plain, end)) = read_plain(padded.as_bytes(), 0).filter(|(_, end)| *end == text.len())
            {
                assert_eq!((plain.to_bits(), end), (value.to_bits(), text.len()), "{text}");
                plain_count += 1;
            }
        }
        assert!(plain_count > 2_000, "{plain_count} numbers were plain");
        assert!(degrees_count > 200, "{degrees_count} numbers were degrees");
    }

    #[test]
    fn what_json_does_not_know_is_refused() {
        for bad in ["", "-", "+1", ".5", "1.", "01", "-01", "1e", "1e+", "NaN", "Infinity", "-.5", "x"] {
            assert!(read(bad.as_bytes(), 0).is_err(), "{bad:?}");
        }
    }
}
