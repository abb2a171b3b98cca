//! The only way out: every outbound HTTP request of the product, under one [`Policy`].
//!
//! Inputs by reference, body references, callbacks, playlists and agents' uploads all pass through
//! [`Egress::fetch`]. For each request, and again for each redirect, it
//!
//! 1. checks what was typed: scheme, user name, host, port ([`Egress::check`]),
//! 2. resolves the name itself and checks every answer,
//! 3. connects to an address that passed, without a second look-up (no DNS rebinding),
//! 4. caps bytes, time, idle time, redirects and, where a body comes as gzip, what it unpacks to.
//!
//! Read first: [`Policy`] (what is allowed), [`Egress`] (who asks), [`Response`] (what comes back).
//!
//! What it is not: it keeps no cookies, knows no proxy (environment variables are ignored), adds no
//! credentials and retries nothing. It knows nothing of geo data or jobs.
//!
//! Invariants: no socket is opened to an address that the policy did not pass; no `client_text` names a
//! resolved address, a redirect target or a byte of a foreign body.
//!
//! ```
//! use anabranch_egress::{Egress, Policy, Request, parse_url};
//!
//! # async fn example(folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! let egress = Egress::new(Policy::default());
//! let url = parse_url("https://data.example.org/roads.geojson")?;
//! egress.check(&url)?; // cheap, before the job is accepted
//! let response = egress.fetch(Request::get(url).header("Accept", "application/geo+json")).await?;
//! let bytes = response.save_to(&folder.join("roads")).await?;
//! # let _ = bytes;
//! # Ok(())
//! # }
//! ```

mod address;
mod client;
mod clock;
mod error;
mod fetch;
mod guard;
mod headers;
mod policy;
mod reference;
mod refusals;
mod request;
mod response;
mod rule;
mod unpack;

pub use address::AddressClass;
pub use error::{EgressError, Fault, Reason, Refused, Wait};
pub use fetch::Egress;
pub use headers::{HEADER_BYTES_MAX, HEADERS_MAX, HeaderRefused, check_header};
pub use policy::{HostName, HostNameError, Policy, Scheme};
pub use reference::{URL_BYTES_MAX, parse_url};
pub use request::{Body, Method, Request};
pub use response::Response;
pub use rule::{Rule, RuleError};
