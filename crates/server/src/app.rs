//! What every request handler shares.

use crate::audit::Audit;
use crate::config::OnDisconnect;
use crate::data_plane::DataPlane;
use crate::http::connections::Connections;
use crate::http::observe::Requests;
use crate::http::rendered::Rendered;
use crate::http::streams::Followers;
use crate::login::Proxy;
use anabranch_egress::Egress;
use anabranch_engine::Engine;
use anabranch_login::{Login, Rights};
use anabranch_model::ProcessId;
use anabranch_ogc::ServiceInfo;
use anabranch_ogc::ogcapi::BaseUrl;
use anabranch_remote::Orchestrator;
use anabranch_xmpp::server::ServerHandle;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The parts of a running server. Cheap to clone.
pub(crate) type App = Arc<Parts>;

pub(crate) struct Parts {
    pub(crate) engine: Engine,
    pub(crate) orchestrator: Orchestrator,
    pub(crate) data_plane: Arc<DataPlane>,
    /// Who it is.
    pub(crate) login: Login,
    /// What they may.
    pub(crate) rights: Arc<Rights>,
    /// Who says who its clients are.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) audit: Audit,
    /// Clients come by TLS.
    pub(crate) is_tls: bool,
    /// Whose pages may use the interfaces; `*` for all.
    pub(crate) cors_origins: Vec<String>,
    pub(crate) service: ServiceInfo,
    /// How clients reach this server.
    pub(crate) base: BaseUrl,
    /// Documents of what is published.
    pub(crate) rendered: Rendered,
    /// Most bytes of a request body that are held in memory.
    pub(crate) body_bytes_max: usize,
    /// Largest request body, in bytes, where large values go to files.
    pub(crate) upload_bytes_max: u64,
    /// Places for such bodies.
    pub(crate) uploads: Semaphore,
    /// Bytes all outputs of one job may have together; one upload of an agent is never larger.
    pub(crate) output_bytes_max: u64,
    /// Longest synchronous execution.
    pub(crate) sync_max: Duration,
    pub(crate) on_disconnect: OnDisconnect,
    /// How long the answer to an asynchronous WPS 2.0 Execute waits for the job's end.
    pub(crate) async_grace: Duration,
    /// Processes whose WPS 1.0.0 clients are told of success as soon as the streams are open.
    pub(crate) early_success: BTreeSet<ProcessId>,
    /// The way out, for playlists of others that people watch here.
    pub(crate) egress: Egress,
    /// Places for clients that follow streams.
    pub(crate) followers: Followers,
    /// The embedded XMPP server, where there is one.
    pub(crate) xmpp: Option<ServerHandle>,
    /// For monitors: what has been asked, and by how many connections.
    pub(crate) requests: Requests,
    pub(crate) connections: Arc<Connections>,
    /// Most of them.
    pub(crate) connections_max: usize,
    /// Cancelled when the server takes no more jobs.
    pub(crate) stopping: CancellationToken,
}

impl Parts {
    /// The WPS endpoint.
    pub(crate) fn wps_url(&self) -> String {
        self.base.at("/wps")
    }
}
