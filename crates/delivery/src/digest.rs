//! Checksums of files.

use sha2::{Digest as _, Sha256};
use std::io::Read as _;
use std::path::Path;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// The SHA-256 of a file, in hexadecimal. Read anew each time it is asked for, which is once for an upload that goes well.
///
/// # Errors
/// Where the file can't be read.
pub(crate) async fn sha256(file: &Path) -> std::io::Result<String> {
    let file = file.to_owned();
    let summed = tokio::task::spawn_blocking(move || {
        let (mut file, mut sum, mut bytes) = (std::fs::File::open(file)?, Sha256::new(), vec![0; READ_BYTES]);
        loop {
            match file.read(&mut bytes)? {
                0 => return Ok(hex(&sum.finalize())),
                count => sum.update(&bytes[..count]),
            }
        }
    });
    summed.await.map_err(std::io::Error::other)?
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is read back, summed as it comes.
#[derive(Default)]
pub(crate) struct Sum(Sha256);

impl Sum {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}
