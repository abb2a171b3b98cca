//! Every limit of streams: what is counted, in which unit, and why the default is what it is.

/// The limits and habits of streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most chunks of one stream under way at once. Default 16: enough to keep eight agents of two slots busy; each may hold its input and
    /// its output in memory. Fewer of what is cut here for a process that can't use so many.
    pub chunks_parallel_max: usize,
    /// Most attempts at one chunk whose run was lost. Default 3: an agent may die twice by chance.
    pub chunk_attempts_max: u32,
    /// Most attempts to fetch one chunk. Default 4: with the pauses between them about 4 s, a server's hiccup.
    pub fetch_attempts_max: u32,
    /// Pause after the first attempt to fetch that failed, milliseconds; it doubles each time. Default 500.
    pub fetch_pause_ms: u64,
    /// Time between two looks at a playlist, milliseconds. Default 1000, as in 2012.
    pub poll_ms: u64,
    /// Largest playlist, bytes. Default 64 MiB: half a million chunks with addresses of 128 bytes.
    pub playlist_bytes_max: u64,
    /// Largest chunk that is fetched, bytes. Default 1 GiB: a tile of 11,000 x 11,000 cells of 8 bytes.
    pub chunk_bytes_max: u64,
    /// Vectors are cut as in 2012: the last chunk takes what the division leaves over, up to half of all. Default false: chunks
    /// differ by one feature at most.
    pub legacy_cut: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            chunks_parallel_max: 16,
            chunk_attempts_max: 3,
            fetch_attempts_max: 4,
            fetch_pause_ms: 500,
            poll_ms: 1000,
            playlist_bytes_max: 64 << 20,
            chunk_bytes_max: 1 << 30,
            legacy_cut: false,
        }
    }
}
