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
    while let Some(byte) = bytes.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (mantissa, at)
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
        for text in texts {
            let (value, end) = read(text.as_bytes(), 0).unwrap();
            assert_eq!(end, text.len(), "{text}");
            assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
    }

    #[test]
    fn what_json_does_not_know_is_refused() {
        for bad in ["", "-", "+1", ".5", "1.", "01", "-01", "1e", "1e+", "NaN", "Infinity", "-.5", "x"] {
            assert!(read(bad.as_bytes(), 0).is_err(), "{bad:?}");
        }
    }
}
