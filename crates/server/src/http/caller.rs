//! Who sends a request, and what they may.

use crate::app::App;
use anabranch_engine::Submitter;
use anabranch_login::{ANONYMOUS, Access, Identity, Means, Operation, Rights, Roles};
use anabranch_model::{Error, ProcessId, UserName, Viewer};
use axum::extract::FromRequestParts;
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
        Self { user: None, viewer: Viewer::Operator, address, standing: Standing::NoLogin }
    }

    /// Who has not logged in.
    pub(crate) fn anonymous(address: IpAddr, rights: &Arc<Rights>) -> Self {
        let standing = Standing::Roles(Roles::anonymous(), Arc::clone(rights), None);
        Self { user: None, viewer: Viewer::Anonymous, address, standing }
    }

    /// Who has.
    pub(crate) fn known(address: IpAddr, identity: Identity, rights: &Arc<Rights>) -> Self {
        let Identity { user, roles, means } = identity;
        let viewer = if rights.is_operator(&roles) { Viewer::Operator } else { Viewer::User(user.clone()) };
        let standing = Standing::Roles(roles, Arc::clone(rights), Some(means));
        Self { user: Some(user), viewer, address, standing }
    }

    fn unknown() -> Self {
        let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self { user: None, viewer: Viewer::Anonymous, address, standing: Standing::Unknown }
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
        Ok(Submitter { owner: self.user.clone(), roles: self.limited_roles(), ..Submitter::default() })
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
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_login::Catalogue;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

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
