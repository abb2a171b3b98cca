//! The memory that chunks are put together in.
//!
//! Chunks are made by one thread and let go of by another, whichever these are. An allocator keeps what is freed for the threads that had
//! allocated it, so that buffers of their own would soon cost several times what is in use.

use super::features::CHUNK_BYTES_MAX;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// Room for the feature that makes a chunk full, in bytes: a line of some thousand positions. Larger ones make their buffer grow.
const LAST_FEATURE_BYTES: usize = 64 << 10;

/// How much a buffer holds before it grows, in bytes. Those that have grown are not kept.
const BUFFER_BYTES: usize = CHUNK_BYTES_MAX + LAST_FEATURE_BYTES;

/// Buffers that are kept when no chunk is in them: what one stream has under way on a machine of two processors, three runs and what is cut meanwhile.
const SPARE_MAX: usize = 4;

/// Chunks up to here are copied out of their buffer, in bytes: whoever keeps such a one, as the result of a process that changes nothing, would keep
/// all of it.
const COPIED_BYTES_MAX: usize = 128 << 10;

/// Buffers for the chunks of all streams of a server.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// An empty one.
    pub(super) fn take(&self) -> Buffer {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = spare.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
        Buffer { bytes, home: self.clone() }
    }
}

/// One of them, which goes back when it is dropped.
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    home: Buffers,
}

impl Buffer {
    /// What is in it, to be read by whoever wants to; the buffer goes back when the last of them has let go.
    pub(super) fn lend(self) -> Bytes {
        if self.bytes.len() <= COPIED_BYTES_MAX {
            return Bytes::copy_from_slice(&self.bytes);
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut spare = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX && bytes.capacity() == BUFFER_BYTES {
            spare.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare(buffers: &Buffers) -> usize {
        buffers.0.lock().unwrap().len()
    }

    fn full(buffers: &Buffers, bytes: usize) -> Bytes {
        let mut buffer = buffers.take();
        buffer.bytes.resize(bytes, b'x');
        buffer.lend()
    }

    #[test]
    fn a_buffer_is_used_again_once_all_have_let_go_of_it() {
        let buffers = Buffers::default();
        let chunk = full(&buffers, BUFFER_BYTES);
        let (address, part) = (chunk.as_ptr(), chunk.slice(10..20));
        drop(chunk);
        assert_eq!(spare(&buffers), 0, "a part of it is read yet");
        drop(part);
        assert_eq!(spare(&buffers), 1);
        let again = full(&buffers, COPIED_BYTES_MAX + 1);
        assert_eq!((again.as_ptr(), again.len()), (address, COPIED_BYTES_MAX + 1));
    }

    #[test]
    fn a_buffer_that_nothing_has_come_into_is_not_lost() {
        let buffers = Buffers::default();
        drop(buffers.take());
        assert_eq!(spare(&buffers), 1);
    }

    #[test]
    fn what_is_small_keeps_no_buffer_and_what_has_grown_is_not_kept() {
        let buffers = Buffers::default();
        let small = full(&buffers, COPIED_BYTES_MAX);
        assert_eq!((small.len(), spare(&buffers)), (COPIED_BYTES_MAX, 1));
        drop(full(&buffers, BUFFER_BYTES + 1));
        assert_eq!(spare(&buffers), 0);
        let many: Vec<_> = (0..SPARE_MAX + 3).map(|_| full(&buffers, BUFFER_BYTES)).collect();
        drop(many);
        assert_eq!(spare(&buffers), SPARE_MAX);
    }
}
