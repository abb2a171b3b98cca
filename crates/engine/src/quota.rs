//! Limits of users, roles and processes, and what follows from them for one job.

use anabranch_model::{Limit, LimitKind, LimitOf, Priority, ProcessId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Most terms that are remembered, of roles and processes: some hundred bytes each. Roles may come from issuers of tokens, in any number.
const REMEMBERED_MAX: usize = 4096;

/// Limits of a user, of the users of a role, or of a process. What is left out is not limited here; of several that
/// hold for a job the strictest counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Most runs under way; what is above waits.
    pub parallel_jobs_max: Option<u64>,
    /// Most jobs that wait for a run.
    pub queued_jobs_max: Option<u64>,
    /// Most jobs accepted within an hour, counted by the minute.
    pub hourly_jobs_max: Option<u64>,
    /// Most bytes that come with one request as inputs.
    pub input_bytes_max: Option<u64>,
    /// Most bytes that all outputs of one job may have.
    pub output_bytes_max: Option<u64>,
    /// Most bytes of inputs and outputs that are kept, of all jobs together.
    pub stored_bytes_max: Option<u64>,
    /// Longest work of one run, seconds; waiting does not count.
    pub run_s_max: Option<u64>,
    /// Longest wait from acceptance to the begin of the work, seconds; fetching references does not count.
    pub queue_s_max: Option<u64>,
    /// Most processor time of one run, seconds, where it can be measured.
    pub cpu_s_max: Option<u64>,
    /// What goes before what. The lowest of those that hold for a job counts; requests may lower it further.
    pub priority: Option<Priority>,
    /// How long a finished job is kept with its results, seconds, instead of [`crate::Limits::results_keep_s`]. The shortest of those that
    /// hold for a job counts.
    pub results_keep_s: Option<u64>,
    /// How long outputs of a class are kept after the end of their job, seconds, where that is less than the job is kept: by a pattern of
    /// their media type, in which `*` stands for any characters. Of several that hold for an output the shortest counts. Literal
    /// values and bounding boxes are of no class, and go with their job.
    pub outputs_keep_s: BTreeMap<String, u64>,
}

impl Quota {
    fn max(&self, kind: LimitKind) -> Option<u64> {
        match kind {
            LimitKind::ParallelJobs => self.parallel_jobs_max,
            LimitKind::QueuedJobs => self.queued_jobs_max,
            LimitKind::HourlyJobs => self.hourly_jobs_max,
            LimitKind::InputBytes => self.input_bytes_max,
            LimitKind::OutputBytes => self.output_bytes_max,
            LimitKind::StoredBytes => self.stored_bytes_max,
            LimitKind::RunSeconds => self.run_s_max,
            LimitKind::QueueSeconds => self.queue_s_max,
            LimitKind::CpuSeconds => self.cpu_s_max,
            LimitKind::FreeBytes => None,
        }
    }
}

/// All quotas of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Of all jobs together.
    pub server: Quota,
    /// Of every user; those who have not said who they are count as one.
    pub each_user: Quota,
    /// Of every user of a role, by its name.
    pub roles: BTreeMap<String, Quota>,
    /// Of every process whose identifier matches a pattern, in which `*` stands for any characters.
    pub processes: BTreeMap<String, Quota>,
}

/// What one job was accepted on. It is kept with the job, so that a restart changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// What goes before what.
    pub(crate) priority: Priority,
    /// Limits of its owner, the strictest of each kind.
    pub(crate) owner: Arc<[Limit]>,
    /// Limits of its process, the strictest of each kind.
    pub(crate) process: Arc<[Limit]>,
    /// How long it is kept when it has finished, seconds; where nothing is said, as long as all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) results_keep_s: Option<u64>,
    /// How long its outputs are kept, seconds, by patterns of their media types.
    #[serde(skip_serializing_if = "is_empty")]
    pub(crate) outputs_keep_s: Arc<BTreeMap<String, u64>>,
}

fn is_empty(keep_s: &BTreeMap<String, u64>) -> bool {
    keep_s.is_empty()
}

impl Terms {
    /// What of it still holds once the job has ended: how long is kept what.
    pub(crate) fn after_the_end(&self) -> Self {
        let (results_keep_s, outputs_keep_s) = (self.results_keep_s, Arc::clone(&self.outputs_keep_s));
        Self { results_keep_s, outputs_keep_s, ..Self::default() }
    }

    /// How long outputs of a media type are kept, seconds; `None` for as long as their job. Parameters of the type may be meant or not.
    pub(crate) fn output_keep_s(&self, media_type: &str) -> Option<u64> {
        let whole = media_type.to_ascii_lowercase();
        let bare = whole.split(';').next().unwrap_or_default().trim_end();
        let meant = |pattern: &str| matches(pattern, bare) || matches(pattern, &whole);
        let all = self.outputs_keep_s.iter().filter(|(pattern, _)| meant(&pattern.to_ascii_lowercase()));
        all.map(|(_, keep_s)| *keep_s).min()
    }

    /// Nothing that had to be remembered.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The strictest limit that holds for the job by itself, the server's among them.
    pub(crate) fn of_job(&self, kind: LimitKind, server_max: u64) -> Limit {
        let server = Limit { kind, max: server_max, of: LimitOf::Server };
        let given = [find(&self.owner, kind), find(&self.process, kind)];
        given.into_iter().flatten().fold(server, |strictest, limit| {
            if limit.max < strictest.max { limit.clone() } else { strictest }
        })
    }
}

/// The limit of a kind among those of a user or process.
pub(crate) fn find(limits: &[Limit], kind: LimitKind) -> Option<&Limit> {
    limits.iter().find(|limit| limit.kind == kind)
}

/// The quotas in force, and the terms that have followed from them: the same roles get the same ones for a process.
pub(crate) struct InForce {
    pub(crate) quotas: Quotas,
    terms: Mutex<HashMap<Vec<String>, HashMap<ProcessId, Terms>>>,
}

impl InForce {
    pub(crate) fn new(quotas: Quotas) -> Self {
        Self { quotas, terms: Mutex::default() }
    }

    /// What holds for a job of someone with these roles, who may have asked for a priority: that lowers the one that their limits give, and
    /// never raises it.
    pub(crate) fn terms(&self, roles: &[String], process: &ProcessId, wanted: Option<Priority>) -> Terms {
        let mut terms = self.given(roles, process);
        // The greatest goes last.
        terms.priority = wanted.map_or(terms.priority, |wanted| terms.priority.max(wanted));
        terms
    }

    fn given(&self, roles: &[String], process: &ProcessId) -> Terms {
        let mut known = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(terms) = known.get(roles).and_then(|of_roles| of_roles.get(process)) {
            return terms.clone();
        }
        if known.values().map(HashMap::len).sum::<usize>() >= REMEMBERED_MAX {
            known.clear();
        }
        let terms = self.quotas.terms(roles, process);
        known.entry(roles.to_vec()).or_default().insert(process.clone(), terms.clone());
        terms
    }
}

impl Quotas {
    /// What holds for a job of someone with these roles.
    fn terms(&self, roles: &[String], process: &ProcessId) -> Terms {
        let of_roles = roles.iter().filter_map(|role| self.roles.get_key_value(role));
        let of_roles = of_roles.map(|(role, quota)| (quota, LimitOf::Role(role.clone())));
        let owner: Vec<_> = std::iter::once((&self.each_user, LimitOf::EachUser)).chain(of_roles).collect();
        let processes = self.processes.iter().filter(|(pattern, _)| matches(pattern, process.as_str()));
        let process: Vec<_> =
            processes.map(|(pattern, quota)| (quota, LimitOf::Process(pattern.clone()))).collect();
        let all =
            || std::iter::once(&self.server).chain(owner.iter().chain(&process).map(|(quota, _)| *quota));
        Terms {
            // The greatest goes last.
            priority: all().filter_map(|quota| quota.priority).max().unwrap_or_default(),
            owner: strictest(&owner).into(),
            process: strictest(&process).into(),
            results_keep_s: all().filter_map(|quota| quota.results_keep_s).min(),
            outputs_keep_s: shortest(all().flat_map(|quota| &quota.outputs_keep_s)).into(),
        }
    }

    /// The limits of all jobs together.
    pub(crate) fn of_server(&self) -> Vec<Limit> {
        strictest(&[(&self.server, LimitOf::Server)])
    }
}

fn shortest<'a>(all: impl Iterator<Item = (&'a String, &'a u64)>) -> BTreeMap<String, u64> {
    let mut shortest = BTreeMap::new();
    for (pattern, keep_s) in all {
        let kept = shortest.entry(pattern.clone()).or_insert(*keep_s);
        *kept = (*keep_s).min(*kept);
    }
    shortest
}

fn strictest(quotas: &[(&Quota, LimitOf)]) -> Vec<Limit> {
    let of_kind = |kind| {
        let given = quotas.iter().filter_map(|(quota, of)| Some((quota.max(kind)?, of)));
        let (max, of) = given.min_by_key(|(max, _)| *max)?;
        Some(Limit { kind, max, of: of.clone() })
    };
    LimitKind::ALL.into_iter().filter_map(of_kind).collect()
}

/// A text matches a pattern in which `*` stands for any characters, none too.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = text.split_once(part) else { return false };
        text = after;
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, expected) in [
            ("echo", "echo", true),
            ("echo", "echo2", false),
            ("*", "anything", true),
            ("gdal:*", "gdal:Contour", true),
            ("gdal:*", "gdal", false),
            ("*:Contour", "gdal:Contour", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*a", "a", false),
            ("*a*", "bab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_request_may_lower_its_priority_and_never_raise_it() {
        let of_role = |priority| Quota { priority: Some(priority), ..Quota::default() };
        let quotas = Quotas {
            roles: [("duty".into(), of_role(Priority::High)), ("night".into(), of_role(Priority::Low))]
                .into(),
            ..Quotas::default()
        };
        let quotas = InForce::new(quotas);
        let given =
            |role: &str, wanted| quotas.terms(&[role.into()], &ProcessId::new("x").unwrap(), wanted).priority;
        for (role, wanted, expected) in [
            ("duty", None, Priority::High),
            ("duty", Some(Priority::Normal), Priority::Normal),
            ("duty", Some(Priority::Low), Priority::Low),
            ("none", None, Priority::Normal),
            ("none", Some(Priority::High), Priority::Normal),
            ("none", Some(Priority::Low), Priority::Low),
            ("night", None, Priority::Low),
            ("night", Some(Priority::High), Priority::Low),
        ] {
            assert_eq!(given(role, wanted), expected, "{role} {wanted:?}");
        }
    }

    #[test]
    fn of_the_classes_that_an_output_is_of_the_shortest_time_counts() {
        let keep = |classes: &[(&str, u64)]| Quota {
            outputs_keep_s: classes.iter().map(|(pattern, keep_s)| ((*pattern).into(), *keep_s)).collect(),
            ..Quota::default()
        };
        let quotas = Quotas {
            server: keep(&[("image/*", 3600), ("*", 7200)]),
            processes: [("ndwi".into(), keep(&[("image/*", 9000), ("image/tiff", 60)]))].into(),
            ..Quotas::default()
        };
        let terms = quotas.terms(&[], &ProcessId::new("ndwi").unwrap());
        for (media_type, expected) in [
            ("image/png", 3600),
            ("Image/TIFF", 60),
            ("image/tiff; application=geotiff", 60),
            ("application/geo+json", 7200),
        ] {
            assert_eq!(terms.output_keep_s(media_type), Some(expected), "{media_type}");
        }
        let others = quotas.terms(&[], &ProcessId::new("echo").unwrap());
        assert_eq!(others.output_keep_s("image/tiff"), Some(3600));
        assert_eq!(Terms::default().output_keep_s("image/tiff"), None);
    }

    #[test]
    fn terms_are_remembered_in_bounds_and_end_with_the_job_but_for_what_is_kept() {
        let quota = Quota { queued_jobs_max: Some(1), results_keep_s: Some(60), ..Quota::default() };
        let quotas = InForce::new(Quotas { each_user: quota, ..Quotas::default() });
        let process = ProcessId::new("echo").unwrap();
        for n in 0..=REMEMBERED_MAX {
            let (first, again) =
                (quotas.given(&[n.to_string()], &process), quotas.given(&[n.to_string()], &process));
            assert!(Arc::ptr_eq(&first.owner, &again.owner));
        }
        let known = quotas.terms.lock().unwrap();
        assert_eq!(known.values().map(HashMap::len).sum::<usize>(), 1);
        let terms = &known[&[REMEMBERED_MAX.to_string()][..]][&process];
        let after = terms.after_the_end();
        assert_eq!((terms.owner.len(), after.owner.len(), after.results_keep_s), (1, 0, Some(60)));
    }

    #[test]
    fn the_strictest_counts_and_says_whose_it_is() {
        let quota = |queued, run| Quota { queued_jobs_max: queued, run_s_max: run, ..Quota::default() };
        let quotas = Quotas {
            each_user: quota(Some(10), Some(60)),
            roles: [("guest".into(), quota(Some(2), None)), ("lab".into(), quota(Some(5), None))].into(),
            processes: [(
                "slow*".into(),
                Quota { priority: Some(Priority::Low), ..quota(Some(7), Some(30)) },
            )]
            .into(),
            ..Quotas::default()
        };
        let roles = ["guest".into(), "lab".into(), "unknown".into()];
        let id = |id: &str| ProcessId::new(id).unwrap();
        let terms = quotas.terms(&roles, &id("slower"));
        let queued = find(&terms.owner, LimitKind::QueuedJobs).unwrap();
        assert_eq!((queued.max, &queued.of), (2, &LimitOf::Role("guest".into())));
        assert_eq!(find(&terms.process, LimitKind::QueuedJobs).unwrap().max, 7);
        assert_eq!(terms.of_job(LimitKind::RunSeconds, 100).of, LimitOf::Process("slow*".into()));
        assert_eq!(terms.of_job(LimitKind::RunSeconds, 5).of, LimitOf::Server);
        assert_eq!(terms.priority, Priority::Low);
        let stored = serde_json::to_string(&terms).unwrap();
        assert_eq!(serde_json::from_str::<Terms>(&stored).unwrap(), terms);
        assert!(quotas.terms(&[], &id("other")).process.is_empty());
        assert!(Quotas::default().terms(&roles, &id("x")).is_plain());
    }
}
