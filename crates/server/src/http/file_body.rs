//! Response bodies that are files, or parts of them.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, TryStream};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Take};
use std::path::Path;
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes that are read at a time: a trip to the blocking pool costs little beside that. Two such blocks are held, one that is sent and one that is at
/// hand.
const BLOCK_BYTES: u64 = 256 * 1024;

/// `length` bytes of a file from `first` on. A file that turns out to be shorter breaks the connection off.
///
/// # Errors
/// Where the file can't be opened.
pub(super) async fn part(path: &Path, first: u64, length: u64) -> io::Result<Body> {
    let path = path.to_owned();
    let opened = spawn_blocking(move || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(first))?;
        Ok::<_, io::Error>(file.take(length))
    });
    Ok(Body::from_stream(blocks(opened.await??)))
}

/// All of a file, and how many bytes that are.
///
/// # Errors
/// Where the file can't be opened.
pub(super) async fn whole(path: &Path) -> io::Result<(Body, u64)> {
    let path = path.to_owned();
    let opened = spawn_blocking(move || {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok::<_, io::Error>((file.take(length), length))
    });
    let (file, length) = opened.await??;
    Ok((Body::from_stream(blocks(file)), length))
}

/// A block is read while the one before is sent; a client that does not read holds no thread.
fn blocks(
    file: Take<File>,
) -> impl TryStream<Ok = Bytes, Error = io::Error, Item = io::Result<Bytes>> + Send {
    stream::try_unfold(read_ahead(file), |ahead| async {
        Ok(ahead.await??.map(|(block, rest)| (block, read_ahead(rest))))
    })
}

/// A block and the rest of its file; nothing behind the last one.
type Next = Option<(Bytes, Take<File>)>;

/// Begins to read a block.
fn read_ahead(mut rest: Take<File>) -> JoinHandle<io::Result<Next>> {
    spawn_blocking(move || {
        let bytes = rest.limit().min(BLOCK_BYTES);
        if bytes == 0 {
            return Ok(None);
        }
        let mut block = Vec::with_capacity(bytes as usize);
        (&mut rest).take(bytes).read_to_end(&mut block)?;
        if (block.len() as u64) < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((block.into(), rest)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use futures_util::TryStreamExt as _;

    fn written(length: u64) -> (tempfile::NamedTempFile, Vec<u8>) {
        let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &content).unwrap();
        (file, content)
    }

    #[tokio::test]
    async fn blocks_are_the_file() {
        for length in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES] {
            let (file, content) = written(length);
            let (body, told) = whole(file.path()).await.unwrap();
            assert_eq!((to_bytes(body, usize::MAX).await.unwrap(), told), (content.into(), length));
        }
    }

    #[tokio::test]
    async fn a_part_is_no_more_than_that() {
        let (file, content) = written(2 * BLOCK_BYTES);
        for (first, bytes) in [(0, 0), (5, 1), (BLOCK_BYTES - 1, BLOCK_BYTES), (10, 2 * BLOCK_BYTES - 10)] {
            let body = part(file.path(), first, bytes).await.unwrap();
            let read = to_bytes(body, usize::MAX).await.unwrap();
            assert_eq!(read, content[first as usize..(first + bytes) as usize]);
        }
    }

    #[tokio::test]
    async fn a_file_that_has_become_shorter_is_never_taken_for_a_whole_one() {
        let (file, _) = written(BLOCK_BYTES);
        let body = part(file.path(), 0, 2 * BLOCK_BYTES).await.unwrap();
        let mut blocks = body.into_data_stream();
        assert_eq!(blocks.try_next().await.unwrap().unwrap().len() as u64, BLOCK_BYTES);
        assert!(blocks.try_next().await.is_err());
    }
}
