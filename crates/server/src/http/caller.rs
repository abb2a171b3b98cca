//! Who sends a request, and what they may.

use crate::app::App;
use anabranch_engine::{Priority, Submitter};
use anabranch_login::{ANONYMOUS, Access, Identity, Means, Operation, Rights, Roles};
use anabranch_model::{Error, ProcessId, UserName, Viewer};
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Who sends a request, and what they may. Handlers take it as an argument; the door (`door.rs`) has found out.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The user, where they have said who they are.
    pub(crate) user: Option<UserName>,
    /// Through whose eyes jobs are seen.
    pub(crate) viewer: Viewer,
    /// Where they are.
    pub(crate) address: IpAddr,
    /// Whether what they ask for may wait until nothing else does.
    is_patient: bool,
    standing: Standing,
}

/// What somebody may.
#[derive(Clone, Debug)]
enum Standing {
    /// There is no login: whoever comes is an operator.
    NoLogin,
    /// What their roles say.
    Roles(Roles, Arc<Rights>, Option<Means>),
    /// Nothing at all: nobody has looked who it is.
    Unknown,
}

impl Caller {
    /// Whoever comes where there is no login.
    pub(crate) fn operator(address: IpAddr) -> Self {
        Self::new(None, Viewer::Operator, address, Standing::NoLogin)
    }

    /// Who has not logged in.
    pub(crate) fn anonymous(address: IpAddr, rights: &Arc<Rights>) -> Self {
        let standing = Standing::Roles(Roles::anonymous(), Arc::clone(rights), None);
        Self::new(None, Viewer::Anonymous, address, standing)
    }

    /// Who has.
    pub(crate) fn known(address: IpAddr, identity: Identity, rights: &Arc<Rights>) -> Self {
        let Identity { user, roles, means } = identity;
        let viewer = if rights.is_operator(&roles) { Viewer::Operator } else { Viewer::User(user.clone()) };
        let standing = Standing::Roles(roles, Arc::clone(rights), Some(means));
        Self::new(Some(user), viewer, address, standing)
    }

    fn unknown() -> Self {
        Self::new(None, Viewer::Anonymous, IpAddr::V4(Ipv4Addr::UNSPECIFIED), Standing::Unknown)
    }

    fn new(user: Option<UserName>, viewer: Viewer, address: IpAddr, standing: Standing) -> Self {
        Self { user, viewer, address, is_patient: false, standing }
    }

    /// Whether a browser sends by itself what tells who they are.
    pub(crate) fn is_ambient(&self) -> bool {
        match self.standing {
            Standing::Roles(_, _, Some(means)) => means != Means::Token,
            Standing::NoLogin | Standing::Roles(_, _, None) | Standing::Unknown => false,
        }
    }

    /// As the one who submits a request: only who may execute the process is one.
    ///
    /// # Errors
    /// As [`Caller::check`].
    pub(crate) fn submitter(&self, process: &ProcessId) -> Result<Submitter, Error> {
        self.check(Operation::Execute, process)?;
        let priority = self.is_patient.then_some(Priority::Low);
        Ok(Submitter { owner: self.user.clone(), roles: self.limited_roles(), priority })
    }

    /// The roles whose limits hold for them. That users may what anonymous callers may does not make them wait like those.
    fn limited_roles(&self) -> Vec<String> {
        let Standing::Roles(roles, ..) = &self.standing else { return Vec::new() };
        let own = roles.names().filter(|role| self.user.is_none() || *role != ANONYMOUS);
        own.map(str::to_owned).collect()
    }

    /// Whether they may do that with a process.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] where they are not to know of it, [`Error::LoginRequired`], [`Error::NotAllowed`].
    pub(crate) fn check(&self, operation: Operation, process: &ProcessId) -> Result<(), Error> {
        let access = match &self.standing {
            Standing::NoLogin => Access::Granted,
            Standing::Roles(roles, rights, _) => rights.access(roles, operation, process),
            Standing::Unknown => Access::Denied,
        };
        match access {
            Access::Granted => Ok(()),
            Access::Hidden => Err(Error::NoSuchProcess(process.to_string())),
            Access::Denied => Err(self.denied()),
        }
    }

    /// Whether they may do that with anything at all.
    ///
    /// # Errors
    /// [`Error::LoginRequired`], [`Error::NotAllowed`].
    pub(crate) fn check_any(&self, operation: Operation) -> Result<(), Error> {
        let may = match &self.standing {
            Standing::NoLogin => true,
            Standing::Roles(roles, rights, _) => rights.may_any(roles, operation),
            Standing::Unknown => false,
        };
        if may { Ok(()) } else { Err(self.denied()) }
    }

    /// Whether the process stands in their lists.
    pub(crate) fn lists(&self, process: &ProcessId) -> bool {
        match &self.standing {
            Standing::NoLogin => true,
            Standing::Roles(roles, rights, _) => rights.lists(roles, process),
            Standing::Unknown => false,
        }
    }

    /// Everyone with the same key has the same lists.
    pub(crate) fn list_key(&self) -> String {
        match &self.standing {
            Standing::NoLogin => String::new(),
            Standing::Roles(roles, rights, _) => rights.list_key(roles),
            Standing::Unknown => "?".into(),
        }
    }

    /// Where they could log in, and have not.
    pub(crate) fn could_log_in(&self) -> bool {
        self.user.is_none() && !matches!(self.standing, Standing::NoLogin)
    }

    fn denied(&self) -> Error {
        if self.user.is_none() { Error::LoginRequired } else { Error::NotAllowed }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Infallible;

    /// Where no door was passed, it is somebody who may do nothing.
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::unknown);
        Ok(Self { is_patient: is_background(&parts.headers), ..caller })
    }
}

/// Whether a request has the urgency of what goes on in the background: `Priority: u=7` (RFC 9218, 4.1). The others say nothing here,
/// because browsers send them with each request; and what can't be read counts as not sent (section 4).
fn is_background(headers: &HeaderMap) -> bool {
    let values = headers.get_all("priority").iter().filter_map(|value| value.to_str().ok());
    // Of a member that is given again the last one counts (RFC 9651, 3.2).
    let mut urgency = values.flat_map(|value| value.split(',')).filter_map(|member| {
        let member = member.split(';').next()?;
        member.trim_matches([' ', '\t']).strip_prefix("u=")
    });
    urgency.next_back() == Some("7")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_login::Catalogue;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn what_is_meant_for_the_background_waits() {
        for (sent, expected) in [
            (&["u=7"][..], true),
            (&["i, u=7;x=1"], true),
            (&["u=3", "u=7"], true),
            (&["u=7,u=1"], false),
            (&["u=77"], false),
            (&["u=0, i"], false),
            (&["7"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            sent.iter().for_each(|value| _ = headers.append("priority", value.parse().unwrap()));
            assert_eq!(is_background(&headers), expected, "{sent:?}");
        }
    }

    #[test]
    fn who_may_not_is_asked_to_log_in_or_refused() {
        let rights = Arc::new(Rights::new(Catalogue::Mixed, &[]).unwrap());
        let echo = ProcessId::new("echo").unwrap();
        let user = UserName::new("anna").unwrap();
        let identity = Identity { user, roles: Roles::of_user([]), means: Means::Password };
        let anna = Caller::known(HERE, identity, &rights);
        assert_eq!(anna.submitter(&echo).unwrap().owner, anna.user);
        assert_eq!(anna.check_any(Operation::Operate), Err(Error::NotAllowed));
        let nobody = Caller::anonymous(HERE, &rights);
        assert_eq!(nobody.submitter(&echo), Err(Error::LoginRequired));
        assert_eq!(Caller::unknown().submitter(&echo), Err(Error::LoginRequired));
        assert!(anna.is_ambient() && !nobody.is_ambient() && nobody.could_log_in());
        let operator = Caller::operator(HERE);
        assert!(operator.submitter(&echo).is_ok_and(|submitter| submitter.owner.is_none()));
        assert!(!operator.could_log_in());
    }
}
