//! Who sends a request.

use crate::app::App;
use anabranch_engine::Submitter;
use anabranch_model::{UserName, Viewer};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;

/// Who sends a request, and what they may see.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The user, where they have said who they are.
    pub(crate) user: Option<UserName>,
    /// Through whose eyes jobs are seen.
    pub(crate) viewer: Viewer,
}

impl Caller {
    /// Whoever comes where there is no login.
    fn operator() -> Self {
        Self { user: None, viewer: Viewer::Operator }
    }

    /// As the one who submits a request.
    pub(crate) fn submitter(&self) -> Submitter {
        Submitter { owner: self.user.clone() }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(_parts: &mut Parts, _app: &App) -> Result<Self, Infallible> {
        Ok(Self::operator())
    }
}
