//! Nicknames of WPS Remote's agents: `<service>@<domain>/master@<host>` of the one that takes requests, and
//! `<service>@<domain>/<execution>@<host>` of each that runs one.

use crate::wire::wps_remote::ExecutionId;

/// A nickname of that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) struct Nick<'a> {
    /// `<service>@<domain>`.
    service: &'a str,
    who: &'a str,
    host: &'a str,
}

const MASTER: &str = "master";

impl<'a> Nick<'a> {
    /// `None` for nicknames of anyone else.
    pub(in crate::pool) fn parse(nick: &'a str) -> Option<Self> {
        let (service, resource) = nick.split_once('/')?;
        let (who, host) = resource.split_once('@')?;
        let whole = !service.is_empty() && !who.is_empty() && !host.is_empty() && !host.contains('/');
        whole.then_some(Self { service, who, host })
    }

    /// It takes requests.
    pub(in crate::pool) fn is_master(&self) -> bool {
        self.who.starts_with(MASTER)
    }

    /// What it runs, where it runs something.
    pub(in crate::pool) fn execution(&self) -> Option<ExecutionId> {
        if self.is_master() { None } else { self.who.parse().ok() }
    }

    /// Tells agents of one account apart: the service and the machine.
    pub(in crate::pool) fn instance(&self) -> String {
        let service = self.service.split('@').next().unwrap_or(self.service);
        format!("{service}@{}", self.host)
    }

    /// The nickname under which the same agent runs something.
    pub(in crate::pool) fn runs(&self, execution: &ExecutionId) -> String {
        format!("{}/{execution}@{}", self.service, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicknames_of_agents_are_told_from_others() {
        let master = Nick::parse("Dummy@geoserver.org/master@vm").unwrap();
        assert!(master.is_master() && master.execution().is_none());
        assert_eq!(master.instance(), "Dummy@vm");
        let execution: ExecutionId = "a1".parse().unwrap();
        let bot = master.runs(&execution);
        assert_eq!(bot, "Dummy@geoserver.org/a1@vm");
        let bot = Nick::parse(&bot).unwrap();
        assert_eq!((bot.execution(), bot.instance()), (Some(execution), "Dummy@vm".into()));
        for other in ["a1", "admin@geoserver.org", "a/b", "/master@vm", "a/@vm", "a/master@", "a/master@b/c"]
        {
            assert_eq!(Nick::parse(other), None, "{other}");
        }
    }
}
