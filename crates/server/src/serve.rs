//! `anabranch serve`: puts the parts together, and takes them down in order.

use crate::accounts::ORCHESTRATOR;
use crate::app::{App, Parts};
use crate::audit::Audit;
use crate::callbacks;
use crate::cli;
use crate::config::{Config, ExternalXmpp, Xmpp};
use crate::data_plane::DataPlane;
use crate::folder::{Folder, secret_in, write_private};
use crate::geoserver::GeoServer;
use crate::http::connections::{Connections, Rules};
use crate::http::observe::Requests;
use crate::http::rendered::Rendered;
use crate::http::streams::Followers;
use crate::http::tls::Tls;
use crate::http::{self, UPLOADS_MAX, listen};
use crate::layers::Layers;
use crate::publisher::{LocalPublisher, Offers, RegistryPublisher};
use crate::reload::Reload;
use crate::shared_folder::SharedFolders;
use crate::streams::Publishing;
use crate::upload_server::UploadServer;
use crate::uploading::Uploads;
use crate::{local_services, log, open_files, signals, telemetry, terminal, xmpp_server, xmpp_session};
use anabranch_egress::Egress;
use anabranch_engine::{Engine, EngineConfig, Quota, Quotas};
use anabranch_ogc::ogcapi::BaseUrl;
use anabranch_ogc::{Provider, ServiceInfo};
use anabranch_remote::{Orchestrator, OrchestratorSettings};
use anabranch_xmpp::client::{Backoff, ClientConfig, ClientLimits, Timing};
use anabranch_xmpp::server::{LocalSession, ServerHandle};
use anabranch_xmpp::{Bus, RoomJoin};
use anyhow::{Context as _, bail};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Exit code of a node that others have taken for dead: EX_TEMPFAIL of sysexits.h, try again.
const EXIT_LOST: i32 = 75;

/// Runs a server until a signal asks it to stop.
///
/// # Errors
/// Where it can't be started: configuration, data folder, ports, certificate, external XMPP server.
pub(crate) async fn serve(arguments: &cli::Serve) -> anyhow::Result<()> {
    let config = load_config(arguments)?;
    let (traces, _sends_until_the_end) = telemetry::start(&config.telemetry)?;
    let log = log::start(&config.log, traces)?;
    open_files::allow(config.http.connections_max)?;
    let shutdown = signals::shutdown_token()?;
    let folder = Folder::open(&arguments.data.folder())?;
    let egress = Egress::new(config.egress.clone());
    let engine = open_engine(&config, &folder, egress.clone()).await?;
    let tls = config.http.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
    let listener = bind(config.http.listen, "HTTP").await?;
    let address = listener.local_addr()?;
    let base = public_url(&config, address);
    let layers = layers(&config, &engine, &folder, &shutdown)?;
    let publishing =
        Publishing::new(&engine, egress.clone(), &base, streaming_settings(&config), layers.clone());
    publish_built_in(&publishing);
    publish_local(&engine, &publishing, &config, folder.path(), &shutdown)?;

    let data_plane = data_plane(&config, &engine, &folder, &base)?;
    data_plane.sweep().await;
    // The XMPP side outlives the jobs: agents are told of dismissals while the engine drains.
    let links = CancellationToken::new();
    let (xmpp, bus, rooms) = connect(&config, &folder, &links).await?;
    let orchestrator = Orchestrator::start(
        bus,
        orchestrator_settings(&config, &base, rooms),
        Arc::new(RegistryPublisher::new(engine.clone(), publishing, Offers::new(&config.xmpp.offers)?)),
        Arc::clone(&data_plane) as _,
        links.clone(),
    );
    engine.offer_callbacks(callbacks::settings(&config.callbacks, BaseUrl::new(base.clone()))?);
    engine.recover().await?;
    if let Some(layers) = &layers {
        layers.take_up().await;
    }

    signals::drain_on_signal(engine.clone())?;
    let keys = Config::keys(arguments.config.as_deref())?;
    Reload {
        file: arguments.config.clone(),
        keys,
        log,
        egress: egress.clone(),
        allow: arguments.allow.clone(),
        engine: engine.clone(),
    }
    .at_signals()?;
    let inside = Inside { engine, orchestrator, data_plane, egress, xmpp, stopping: shutdown.clone() };
    let app = app(&config, &folder, base, &inside)?;
    tell_of(&config, &folder, address)?;
    let http = listen::serve(
        listener,
        tls,
        http::router(Arc::clone(&app)),
        listen_limits(&config),
        Arc::clone(&app.connections),
        shutdown.clone(),
    );
    let http = tokio::spawn(http);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = inside.engine.lost() => end_at_once(),
    }
    inside.stop(http, &links, drain_max(&config)).await;
    let _already_gone = std::fs::remove_file(folder.server_json());
    tracing::info!("stopped");
    Ok(())
}

/// What works behind the interface.
struct Inside {
    engine: Engine,
    orchestrator: Orchestrator,
    data_plane: Arc<DataPlane>,
    egress: Egress,
    /// The embedded XMPP server, where it is that.
    xmpp: Option<ServerHandle>,
    stopping: CancellationToken,
}

impl Inside {
    /// Runs on agents go on and are found again; everything else gets the time to drain. XMPP comes last.
    async fn stop(self, http: JoinHandle<()>, links: &CancellationToken, drain: Duration) {
        self.orchestrator.detach_all();
        self.engine.shutdown(drain).await;
        let _panicked = http.await;
        links.cancel();
        self.orchestrator.stopped().await;
        if let Some(xmpp) = self.xmpp {
            xmpp.stopped().await;
        }
    }
}

/// What handlers have.
fn app(config: &Config, folder: &Folder, base: String, inside: &Inside) -> anyhow::Result<App> {
    Ok(Arc::new(Parts {
        engine: inside.engine.clone(),
        orchestrator: inside.orchestrator.clone(),
        data_plane: Arc::clone(&inside.data_plane),
        login: config.login.login(folder, &config.egress, by_certificate(config))?,
        rights: Arc::new(config.login.rights()?),
        proxy: config.login.proxy.clone(),
        audit: Audit::open(config.audit.path(folder))?,
        is_tls: config.http.tls.is_some(),
        cors_origins: config.http.cors_origins.clone(),
        service: service_info(config),
        base: BaseUrl::new(base),
        rendered: Rendered::default(),
        body_bytes_max: config.http.body_bytes_max,
        upload_bytes_max: config.http.upload_bytes_max,
        uploads: Semaphore::new(UPLOADS_MAX),
        output_bytes_max: config.limits.output_bytes_max,
        sync_max: Duration::from_secs(config.http.sync_s_max),
        on_disconnect: config.http.on_disconnect,
        async_grace: Duration::from_millis(config.http.async_grace_ms),
        early_success: config.streaming.early_success.clone(),
        egress: inside.egress.clone(),
        followers: Followers::default(),
        xmpp: inside.xmpp.clone(),
        requests: Requests::default(),
        connections: Connections::new(connection_rules(config)),
        connections_max: config.http.connections_max,
        stopping: inside.stopping.clone(),
    }))
}

async fn open_engine(config: &Config, folder: &Folder, egress: Egress) -> anyhow::Result<Engine> {
    let given = engine_config(config, folder);
    Ok(match config.store.postgres()? {
        None => Engine::open(given, egress).await?,
        Some(store) => Engine::open_node(given, store, egress).await?,
    })
}

fn data_plane(
    config: &Config,
    engine: &Engine,
    folder: &Folder,
    base: &str,
) -> anyhow::Result<Arc<DataPlane>> {
    let shared = config.store.folder(folder.path());
    let key = secret_in(shared, "agent-data.key")?;
    let data_plane = DataPlane::new(
        engine.clone(),
        base.to_owned(),
        &key,
        shared.join("agent-data"),
        SharedFolders::new(&config.wps_remote),
    );
    Ok(Arc::new(data_plane.of_several(!config.store.node.is_empty())))
}

/// Says where the server is: to who started it, and to commands on this machine.
fn tell_of(config: &Config, folder: &Folder, address: SocketAddr) -> anyhow::Result<()> {
    let scheme = scheme(config);
    let document = json!({ "http": format!("{scheme}://{address}"), "pid": std::process::id() });
    write_private(&folder.server_json(), &document.to_string())?;
    terminal::line(format_args!("listening on {scheme}://{address}"));
    tracing::info!(%address, data = %folder.path().display(), "ready");
    Ok(())
}

fn drain_max(config: &Config) -> Duration {
    Duration::from_secs(config.limits.drain_s_max)
}

fn listen_limits(config: &Config) -> listen::Limits {
    listen::Limits {
        connections_max: config.http.connections_max,
        head_timeout: Duration::from_millis(config.http.head_ms_max),
        drain: drain_max(config),
    }
}

fn scheme(config: &Config) -> &'static str {
    if config.http.tls.is_some() { "https" } else { "http" }
}

/// Client certificates log users in.
fn by_certificate(config: &Config) -> bool {
    config.http.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
}

/// Another node has the jobs now: nothing is to be said about them any more, neither to agents nor to clients.
fn end_at_once() -> ! {
    terminal::line("the other nodes have taken this one for dead and have its jobs; it may be started again");
    std::process::exit(EXIT_LOST)
}

/// Where the server is, as its clients see it, without `/` at its end.
fn public_url(config: &Config, address: SocketAddr) -> String {
    match config.http.public_url.as_str() {
        "" => format!("{}://{address}", scheme(config)),
        url => url.trim_end_matches('/').to_owned(),
    }
}

fn connection_rules(config: &Config) -> Rules {
    let given = &config.http;
    Rules {
        per_address_max: given.connections_per_address_max,
        exempt: given.connections_exempt.clone(),
        proxies: given.trusted_proxies.clone(),
    }
}

/// What makes outputs layers of a GeoServer, where there is one.
fn layers(
    config: &Config,
    engine: &Engine,
    folder: &Folder,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Layers>> {
    let Some(given) = &config.geoserver else { return Ok(None) };
    let geoserver = GeoServer::new(given, &config.egress)?;
    let due = folder.path().join("layers");
    Ok(Some(Layers::new(engine.clone(), geoserver, due, shutdown.clone())))
}

fn orchestrator_settings(config: &Config, base: &str, rooms: Vec<RoomJoin>) -> OrchestratorSettings {
    OrchestratorSettings {
        // The engine bounds the runs there can be: an accepted job is never refused by a second, smaller queue.
        queue_runs_max: config.limits.parallel_runs_max,
        base_url: format!("{base}/"),
        cpu_percent_max: config.balance.cpu_percent_max,
        memory_percent_max: config.balance.memory_percent_max,
        force: config.balance.force,
        preferred_labels: config.balance.preferred_labels.clone(),
        shared: !config.store.node.is_empty(),
        ..OrchestratorSettings::new(rooms, env!("CARGO_PKG_VERSION"))
    }
}

fn load_config(arguments: &cli::Serve) -> anyhow::Result<Config> {
    let mut config = Config::load(arguments.config.as_deref())?;
    config.http.listen = arguments.listen.unwrap_or(config.http.listen);
    config.egress.allow.extend(arguments.allow.iter().cloned());
    arguments.xmpp.overlay(&mut config.xmpp);
    if let Some(node) = &arguments.node {
        config.store.node.clone_from(node);
        config.store.check(&config.http.public_url)?;
    }
    Ok(config)
}

fn engine_config(config: &Config, folder: &Folder) -> EngineConfig {
    let given = &config.limits;
    let limits = anabranch_engine::Limits {
        jobs_queued_max: given.queued_jobs_max,
        parallel_runs_max: given.parallel_runs_max,
        process_runs_max: given.parallel_runs_max.div_ceil(2),
        run_s_max: given.run_s_max,
        queue_s_max: given.queue_s_max,
        cpu_s_max: given.cpu_s_max.unwrap_or(u64::MAX),
        input_bytes_max: given.input_bytes_max.unwrap_or(u64::MAX),
        free_bytes_min: given.free_bytes_min,
        free_percent_min: given.free_percent_min,
        free_bytes_stop: given.free_bytes_stop,
        output_bytes_max: given.output_bytes_max,
        converted_bytes_max: given.converted_bytes_max,
        results_keep_s: given.results_keep_s,
        reattach_ms_max: given.reattach_s_max.saturating_mul(1000),
        callback_attempts_max: config.callbacks.attempts_max,
        callback_keep_s: config.callbacks.keep_s,
        ..anabranch_engine::Limits::default()
    };
    EngineConfig { data: folder.path().to_owned(), limits, quotas: quotas(config) }
}

/// The limits of users, roles and processes, and those of all jobs together that are counted as theirs are.
pub(crate) fn quotas(config: &Config) -> Quotas {
    let (limits, roles, processes) = (&config.limits, &config.roles, &config.processes);
    let server = Quota {
        hourly_jobs_max: limits.hourly_jobs_max,
        stored_bytes_max: limits.stored_bytes_max,
        outputs_keep_s: limits.outputs_keep_s.clone(),
        ..Quota::default()
    };
    Quotas {
        server,
        each_user: limits.each_user.clone(),
        roles: roles.iter().map(|(name, role)| (name.clone(), role.limits.clone())).collect(),
        processes: processes.iter().map(|(pattern, of)| (pattern.clone(), of.limits.clone())).collect(),
    }
}

fn streaming_settings(config: &Config) -> anabranch_streaming::Settings {
    let given = &config.streaming;
    anabranch_streaming::Settings {
        chunks_parallel_max: given.chunks_parallel_max,
        poll_ms: given.poll_ms,
        legacy_cut: given.legacy_cut,
        ..anabranch_streaming::Settings::default()
    }
}

fn publish_built_in(publishing: &Publishing) {
    for process in anabranch_algorithms::all_processes() {
        publishing.publish(process);
    }
    for algorithm in anabranch_algorithms::all_algorithms() {
        publishing.publish_algorithm(algorithm);
    }
}

/// Publishes the services of the server's own folder, now and as they come, change and go.
fn publish_local(
    engine: &Engine,
    publishing: &Publishing,
    config: &Config,
    data: &Path,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    if config.services.folder.as_os_str().is_empty() {
        return Ok(());
    }
    let folder = local_services::open(&config.services.folder)?;
    let uploader = config.upload.as_ref().map(UploadServer::uploader).transpose()?;
    let uploads = Uploads { uploader: uploader.map(Arc::new), shared_folder: false };
    let mut local = LocalPublisher::new(engine.clone(), publishing.clone(), uploads);
    anabranch_command::remove_stale_links(&folder.services(), data);
    local.replace(&folder.services());
    let watching = local_services::watch(folder, move |services| local.replace(&services));
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(watching));
    Ok(())
}

fn service_info(config: &Config) -> ServiceInfo {
    let service = &config.service;
    let site = Some(service.provider_site.clone()).filter(|site| !site.is_empty());
    ServiceInfo {
        title: service.title.clone(),
        description: service.r#abstract.clone(),
        keywords: service.keywords.clone(),
        provider: Provider { name: service.provider.clone(), site, contact: None, email: None },
        languages: service.languages.clone(),
        ..ServiceInfo::default()
    }
}

/// Takes a port.
///
/// # Errors
/// Names the address and what it is for.
pub(crate) async fn bind(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("can't listen on {address} for {what}"))
}

/// The server's session where agents are met: in the process, or at an external XMPP server.
async fn connect(
    config: &Config,
    folder: &Folder,
    shutdown: &CancellationToken,
) -> anyhow::Result<(Option<ServerHandle>, Bus, Vec<RoomJoin>)> {
    if let Some(external) = &config.xmpp.external {
        let (bus, rooms) = connect_external(external, &config.xmpp, &config.store.node)?;
        return Ok((None, bus, rooms));
    }
    let embedded = xmpp_server::start(&config.xmpp, folder, shutdown.clone()).await?;
    let named = |room| RoomJoin { nick: ORCHESTRATOR.into(), ..room };
    let rooms: Vec<_> = embedded.rooms.into_iter().map(named).collect();
    let session = LocalSession { user: ORCHESTRATOR.into(), resource: "server".into(), rooms: rooms.clone() };
    let bus = embedded.handle.local_session(session)?;
    Ok((Some(embedded.handle), bus, rooms))
}

fn connect_external(
    external: &ExternalXmpp,
    xmpp: &Xmpp,
    node: &str,
) -> anyhow::Result<(Bus, Vec<RoomJoin>)> {
    let (user, domain) = xmpp_session::split_account(&external.account)?;
    let security = xmpp_session::security(external.tls, &external.certificate, &external.host)?;
    let password = external.room_password_file.as_deref().map(xmpp_session::read_secret).transpose()?;
    let of_node = |name: &str| if node.is_empty() { name.to_owned() } else { format!("{name}-{node}") };
    // Agents look for the server under its user name, and for nodes under that with theirs behind it.
    let join = |room: &str| RoomJoin {
        room: format!("{room}@{}", external.conference),
        nick: of_node(&user),
        password: password.clone(),
    };
    let rooms: Vec<_> = xmpp.all_rooms().map(join).collect();
    if user.is_empty() {
        bail!("xmpp.external.account has no user name");
    }
    let bus = anabranch_xmpp::client::connect(ClientConfig {
        host: external.host.clone(),
        port: external.port,
        domain,
        user,
        password: xmpp_session::read_secret(&external.password_file)?,
        resource: of_node("server"),
        security,
        rooms: rooms.clone(),
        timing: Timing::default(),
        limits: ClientLimits::default(),
        backoff: Backoff::default(),
    })?;
    Ok((bus, rooms))
}
