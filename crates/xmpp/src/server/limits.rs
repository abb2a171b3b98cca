use std::time::Duration;

/// Every limit of the server. The defaults suit some hundreds of agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a stanza before login (10 kB): more than any login needs, and all that a stranger can make us keep.
    pub stanza_before_login_bytes_max: usize,
    /// Bytes of a stanza after login (1 MiB): four times what Prosody and ejabberd allow, so that whoever keeps to
    /// theirs is at home here. Larger data goes by reference.
    pub stanza_bytes_max: usize,
    /// Connections in all (2,048): below the usual limit of 4,096 open files of a service.
    pub connections_max: usize,
    /// Connections from one address (512): a cluster behind one address translation must fit, one host must not fill
    /// the server.
    pub connections_per_address_max: usize,
    /// Time from accepting a connection to the bound session, TLS handshake included (10 s): frees the places of
    /// those who connect and say nothing.
    pub negotiation_timeout: Duration,
    /// Logins tried on one connection (3): then it is closed (RFC 6120 §6.4.5 suggests 2 to 5).
    pub login_attempts_max: usize,
    /// Failed logins from one address within [`failed_logins_window`](Self::failed_logins_window) (30): beyond, every
    /// login from there is put off, which makes guessing hopeless; high, because many agents may share an address.
    pub failed_logins_max: usize,
    /// Window for counting failed logins (60 s).
    pub failed_logins_window: Duration,
    /// Passwords checked at once for SASL PLAIN (2): each takes some milliseconds of processor time that must not be
    /// taken from the work.
    pub password_checks_max: usize,
    /// Sessions of one account (64): agents on many hosts may share one.
    pub sessions_per_account_max: usize,
    /// Stanzas that wait for one session (4,096: twice the connections, so that all others may come and go at once).
    /// When it is full, the session is ended with `resource-constraint`, because waiting would let one slow reader stop
    /// the others. The occupants of a room that the session enters count as one, however many they are: they are not
    /// copied but told from what the room has, and the session is not heard until they are.
    pub queue_stanzas_max: usize,
    /// Bytes that wait for one session (8 MiB): as before, for long stanzas.
    pub queue_bytes_max: usize,
    /// Longest pause after each stanza to a session whose queue is half full (100 ms). Many fast senders then wait for
    /// one busy receiver; a receiver that does nothing slows them down for some seconds, until its queue is full.
    pub congestion_pause_max: Duration,
    /// How long a peer may refuse to take bytes while some wait for it (30 s); then it counts as gone.
    pub write_timeout: Duration,
    /// Silence after which a peer is pinged (60 s).
    pub idle_ping_after: Duration,
    /// Time for an answer to that ping (20 s): then the connection counts as dead, and rooms are told.
    pub idle_ping_timeout: Duration,
    /// Rooms in all (1,024), configured ones included.
    pub rooms_max: usize,
    /// Rooms that one session may be in (64).
    pub rooms_per_session_max: usize,
    /// Time for sessions to be told and to end at shutdown (3 s).
    pub shutdown_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stanza_before_login_bytes_max: 10_000,
            stanza_bytes_max: 1024 * 1024,
            connections_max: 2048,
            connections_per_address_max: 512,
            negotiation_timeout: Duration::from_secs(10),
            login_attempts_max: 3,
            failed_logins_max: 30,
            failed_logins_window: Duration::from_secs(60),
            password_checks_max: 2,
            sessions_per_account_max: 64,
            queue_stanzas_max: 4096,
            queue_bytes_max: 8 * 1024 * 1024,
            congestion_pause_max: Duration::from_millis(100),
            write_timeout: Duration::from_secs(30),
            idle_ping_after: Duration::from_secs(60),
            idle_ping_timeout: Duration::from_secs(20),
            rooms_max: 1024,
            rooms_per_session_max: 64,
            shutdown_timeout: Duration::from_secs(3),
        }
    }
}
