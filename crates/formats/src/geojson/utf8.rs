//! UTF-8, checked piece by piece.

/// Longest UTF-8 sequence less its last byte: what may hang over the end of a piece.
const OVERHANG_BYTES_MAX: usize = 3;

/// Checks a stream of pieces as one text: a character may be cut between two pieces.
#[derive(Default)]
pub(super) struct Utf8Check {
    overhang: [u8; OVERHANG_BYTES_MAX + 1],
    overhang_bytes: usize,
}

impl Utf8Check {
    /// Checks the next piece; gives the offset in it where the text stops being UTF-8 (0 for a character begun before).
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), usize> {
        let rest_at = self.complete_overhang(piece)?;
        match std::str::from_utf8(&piece[rest_at..]) {
            Ok(_) => Ok(()),
            Err(error) => {
                let valid_to = rest_at + error.valid_up_to();
                if error.error_len().is_some() {
                    return Err(valid_to);
                }
                let tail = &piece[valid_to..];
                self.overhang[..tail.len()].copy_from_slice(tail);
                self.overhang_bytes = tail.len();
                Ok(())
            }
        }
    }

    /// The text ends here: no character may be half there.
    pub(super) fn finish(&self) -> Result<(), usize> {
        if self.overhang_bytes == 0 { Ok(()) } else { Err(0) }
    }

    /// Adds bytes to the character begun in the last piece; gives how many it took.
    fn complete_overhang(&mut self, piece: &[u8]) -> Result<usize, usize> {
        let mut taken = 0;
        while self.overhang_bytes > 0 && taken < piece.len() {
            self.overhang[self.overhang_bytes] = piece[taken];
            self.overhang_bytes += 1;
            taken += 1;
            match std::str::from_utf8(&self.overhang[..self.overhang_bytes]) {
                Ok(_) => self.overhang_bytes = 0,
                // Still incomplete: a sequence has at most 4 bytes, so `overhang` never runs over.
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(0),
            }
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], piece_bytes: usize) -> bool {
        let mut check = Utf8Check::default();
        text.chunks(piece_bytes).all(|piece| check.push(piece).is_ok()) && check.finish().is_ok()
    }

    #[test]
    fn cuts_do_not_matter() {
        for piece_bytes in 1..9 {
            assert!(check("aé€𝄞z𝄞".as_bytes(), piece_bytes));
            for bad in [&b"a\xff"[..], b"\xe2\x82", b"\xe2\x28\xa1", b"\xf0\x9d\x84", b"\xc0\x80", b"x\x80"] {
                assert!(!check(bad, piece_bytes), "{bad:?} in pieces of {piece_bytes}");
            }
        }
    }
}
