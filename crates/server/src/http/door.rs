//! The door: finds out who sends a request before anything else is done, and asks for a login where one is missing.

use super::answer::Asked;
use super::caller::Caller;
use super::same_site::refuse_ambient;
use super::wps::{self, exception};
use crate::app::App;
use crate::audit::Event;
use crate::http::listen::Peer;
use anabranch_login::{Credentials, Means, Refused};
use anabranch_model::Error;
use anabranch_ogc::ogcapi::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::net::IpAddr;

/// How a login is asked for: browsers take the first, programs what they know.
const CHALLENGES: [HeaderValue; 2] = [
    HeaderValue::from_static("Basic realm=\"Anabranch\", charset=\"UTF-8\""),
    HeaderValue::from_static("Bearer realm=\"Anabranch\""),
];

/// Every request passes here, but for those of agents, whose addresses are signed.
pub(crate) async fn door(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
    // Whose guesses are counted and what the audit log says: behind a trusted proxy that is not the proxy.
    let address = app.connections.client(peer.address, request.headers());
    if !app.login.is_on() {
        request.extensions_mut().insert(Caller::operator(address));
        return next.run(request).await;
    }
    let caller = match identify(&app, &peer, address, request.headers()).await {
        Ok(caller) => caller,
        Err(refused) => return refuse(&app, address, &request, refused),
    };
    if caller.is_ambient()
        && let Some(problem) = refuse_ambient(&request, &app.base, &app.cors_origins)
    {
        return asked(&app, &caller, &request).problem(problem);
    }
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED {
        challenge(&mut response);
    }
    keep_private(&mut response);
    response
}

/// `GET /login`: a browser is asked for a login, and led to the landing page once it has one.
pub(crate) async fn login(State(app): State<App>, caller: Caller, request: Request) -> Response {
    if caller.could_log_in() {
        return asked(&app, &caller, &request).error(&Error::LoginRequired);
    }
    Redirect::to(&app.base.at("/")).into_response()
}

fn asked<'a>(app: &'a App, caller: &'a Caller, request: &'a Request) -> Asked<'a> {
    let uri = request.uri();
    Asked { app, caller, headers: request.headers(), query: uri.query(), path: uri.path() }
}

async fn identify(app: &App, peer: &Peer, address: IpAddr, headers: &HeaderMap) -> Result<Caller, Refused> {
    let rights = &app.rights;
    let known = |identity| Caller::known(address, identity, rights);
    if let Some(given) = headers.get(header::AUTHORIZATION) {
        let text = given.to_str().map_err(|_not_ascii| Refused::Wrong)?;
        let (scheme, rest) = text.split_once(' ').ok_or(Refused::Wrong)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return app.login.identify(Credentials::Bearer(rest.trim()), address).await.map(known);
        }
        let decoded =
            if scheme.eq_ignore_ascii_case("basic") { STANDARD.decode(rest.trim()).ok() } else { None };
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(Refused::Wrong)?;
        let (user, password) = decoded.split_once(':').ok_or(Refused::Wrong)?;
        return app.login.identify(Credentials::Password { user, password }, address).await.map(known);
    }
    if let Some(user) = &peer.certificate {
        let vouched = Credentials::Vouched { user, roles: Vec::new(), means: Means::Certificate };
        return app.login.identify(vouched, address).await.map(known);
    }
    if let Some(proxy) = app.proxy.as_ref().filter(|proxy| proxy.is_from(peer.address))
        && let Some((user, roles)) = proxy.user(headers)?
    {
        let vouched = Credentials::Vouched { user: &user, roles, means: Means::Proxy };
        return app.login.identify(vouched, address).await.map(known);
    }
    Ok(Caller::anonymous(address, rights))
}

fn refuse(app: &App, address: IpAddr, request: &Request, refused: Refused) -> Response {
    let nobody = Caller::anonymous(address, &app.rights);
    app.audit.record(&nobody, Event::LoginFailed { why: &refused.to_string() });
    let asked = asked(app, &nobody, request);
    let is_wps = matches!(request.uri().path(), "/wps" | "/ows");
    let mut response = match refused {
        Refused::Wrong if is_wps => exception(app, &wps::reported(&Error::LoginRequired)),
        Refused::Wrong => asked.error(&Error::LoginRequired),
        Refused::TooMany { retry_after_s } => {
            let problem = Problem::http(429, "too many failed logins", refused.to_string());
            asked.problem(Problem { retry_after_s: Some(retry_after_s), ..problem })
        }
        Refused::Busy { retry_after_s } => {
            let problem = Problem::http(503, "busy", refused.to_string());
            asked.problem(Problem { retry_after_s: Some(retry_after_s), ..problem })
        }
    };
    if refused == Refused::Wrong {
        challenge(&mut response);
    }
    keep_private(&mut response);
    response
}

fn challenge(response: &mut Response) {
    for challenge in CHALLENGES {
        response.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
    }
}

/// What one user is answered is kept by no cache for another.
fn keep_private(response: &mut Response) {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("authorization"));
    let rule = match headers.get(header::CACHE_CONTROL).and_then(|rule| rule.to_str().ok()) {
        None => Ok(HeaderValue::from_static("private, no-cache")),
        Some(rule) if rule.contains("no-store") => return,
        Some(rule) => HeaderValue::from_str(&format!("private, {rule}")),
    };
    if let Ok(rule) = rule {
        headers.insert(header::CACHE_CONTROL, rule);
    }
}
