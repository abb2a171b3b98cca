//! Numbers in binary records, read without trust: what is not there is `None`, never a panic.

/// Which byte of a number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    /// The most significant.
    Big,
    /// The least significant.
    Little,
}

/// What is left of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// From the start.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next byte.
    pub(crate) fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// The next two bytes.
    pub(crate) fn u16(&mut self, order: ByteOrder) -> Option<u16> {
        self.array().map(|bytes| match order {
            ByteOrder::Big => u16::from_be_bytes(bytes),
            ByteOrder::Little => u16::from_le_bytes(bytes),
        })
    }

    /// The next four bytes.
    pub(crate) fn u32(&mut self, order: ByteOrder) -> Option<u32> {
        self.array().map(|bytes| match order {
            ByteOrder::Big => u32::from_be_bytes(bytes),
            ByteOrder::Little => u32::from_le_bytes(bytes),
        })
    }

    /// The next eight bytes.
    pub(crate) fn u64(&mut self, order: ByteOrder) -> Option<u64> {
        self.array().map(|bytes| match order {
            ByteOrder::Big => u64::from_be_bytes(bytes),
            ByteOrder::Little => u64::from_le_bytes(bytes),
        })
    }

    /// The next four bytes, with a sign.
    pub(crate) fn i32(&mut self, order: ByteOrder) -> Option<i32> {
        self.u32(order).map(u32::cast_signed)
    }

    /// The next eight bytes, as a number of IEEE 754.
    pub(crate) fn f64(&mut self, order: ByteOrder) -> Option<f64> {
        self.array().map(|bytes| match order {
            ByteOrder::Big => f64::from_be_bytes(bytes),
            ByteOrder::Little => f64::from_le_bytes(bytes),
        })
    }

    /// The next bytes, as many as the array has.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}
