//! What readings of the machine mean: pure, time is a parameter.

use super::rules::{Rules, Running};
use anabranch_remote::Load;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a program on the list counts after it was last seen awake: what waits for its disk for a moment is still at work.
const AWAKE: Duration = Duration::from_secs(10);

/// The machine at one moment.
pub(crate) struct Reading {
    pub(crate) load: Load,
    /// Processes that are not asleep; empty where nothing is on the list.
    pub(crate) awake: Vec<Running>,
}

/// Keeps readings, and judges by them.
pub(crate) struct Monitor {
    rules: Rules,
    /// Those of the window, oldest first.
    readings: VecDeque<(Instant, Load)>,
    /// A program on the list, and when it was last seen awake.
    listed: Option<(String, Instant)>,
}

impl Monitor {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, readings: VecDeque::new(), listed: None }
    }

    /// The owner has changed them.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        self.listed = None;
    }

    pub(crate) fn has_list(&self) -> bool {
        !self.rules.blacklist.is_empty()
    }

    pub(crate) fn take(&mut self, reading: &Reading, now: Instant) {
        let window = Duration::from_secs(self.rules.window_s);
        self.readings.push_back((now, reading.load));
        while self.readings.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > window) {
            self.readings.pop_front();
        }
        let is_listed =
            |process: &&Running| self.rules.blacklist.iter().any(|listed| listed.is_meant(process));
        if let Some(process) = reading.awake.iter().find(is_listed) {
            self.listed = Some((process.name.clone(), now));
        }
        self.listed.take_if(|(_, seen)| now.saturating_duration_since(*seen) >= AWAKE);
    }

    /// The mean of now and of the window, as the original's agents count: a peak weighs half at once, and all if it lasts.
    pub(crate) fn load(&self) -> Load {
        let Some((_, now)) = self.readings.back() else { return Load::default() };
        let smooth = |of: fn(&Load) -> f32| {
            let sum: f64 = self.readings.iter().map(|(_, load)| f64::from(of(load))).sum();
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                reason = "percentages for people, of at most thousands of readings"
            )]
            let mean = (sum / self.readings.len() as f64) as f32;
            f32::midpoint(of(now), mean)
        };
        Load {
            cpu_percent: smooth(|load| load.cpu_percent),
            memory_percent: smooth(|load| load.memory_percent),
            load_average: smooth(|load| load.load_average),
        }
    }

    /// Why no more runs are taken, for operators.
    pub(crate) fn full(&self) -> Option<String> {
        if let Some((name, _)) = &self.listed {
            return Some(format!("full: '{name}' runs, which is on its list"));
        }
        let (load, rules) = (self.load(), &self.rules);
        let above = |value: f32, max: Option<f32>| max.filter(|max| value > *max);
        if let Some(max) = above(load.memory_percent, rules.memory_percent_max) {
            return Some(format!("full: memory above its {max} %"));
        }
        if let Some(max) = above(load.cpu_percent, rules.cpu_percent_max) {
            return Some(format!("full: cpu above its {max} %"));
        }
        let max = above(load.load_average, rules.load_average_max)?;
        Some(format!("full: load average above its {max}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::Listed;
    use super::*;

    fn reading(cpu_percent: f32, memory_percent: f32, load_average: f32) -> Reading {
        Reading { load: Load { cpu_percent, memory_percent, load_average }, awake: Vec::new() }
    }

    fn process(name: &str, folder: &str, command_line: &str) -> Running {
        Running { name: name.into(), folder: folder.into(), command_line: command_line.into() }
    }

    /// Feeds one reading a second.
    struct Feed {
        monitor: Monitor,
        now: Instant,
    }

    impl Feed {
        fn new(rules: Rules) -> Self {
            rules.check().unwrap();
            Self { monitor: Monitor::new(rules), now: Instant::now() }
        }

        fn seconds(&mut self, seconds: u32, reading: impl Fn() -> Reading) -> &Monitor {
            for _ in 0..seconds {
                self.now += Duration::from_secs(1);
                self.monitor.take(&reading(), self.now);
            }
            &self.monitor
        }
    }

    #[test]
    fn a_peak_weighs_half_at_once_and_all_when_it_lasts() {
        let mut feed = Feed::new(Rules { window_s: 9, ..Rules::default() });
        assert_eq!(feed.monitor.load(), Load::default());
        let load = feed.seconds(10, || reading(10.0, 20.0, 1.0)).load();
        assert_eq!((load.cpu_percent, load.memory_percent, load.load_average), (10.0, 20.0, 1.0));
        // Now 100, the window of ten readings 19.
        assert_eq!(feed.seconds(1, || reading(100.0, 20.0, 1.0)).load().cpu_percent, 59.5);
        assert_eq!(feed.seconds(9, || reading(100.0, 20.0, 1.0)).load().cpu_percent, 100.0);
        assert_eq!(feed.monitor.readings.len(), 10, "older ones are not kept");
        assert_eq!(feed.monitor.full(), None, "there are no rules");
    }

    #[test]
    fn a_machine_is_full_above_its_thresholds_and_not_at_them() {
        for (rules, at, above, said) in [
            (
                Rules { cpu_percent_max: Some(80.0), ..Rules::default() },
                (80.0, 0.0, 0.0),
                (80.5, 0.0, 0.0),
                "cpu above its 80 %",
            ),
            (
                Rules { memory_percent_max: Some(82.5), ..Rules::default() },
                (100.0, 82.5, 9.0),
                (0.0, 83.0, 0.0),
                "memory above its 82.5 %",
            ),
            (
                Rules { load_average_max: Some(4.0), ..Rules::default() },
                (100.0, 100.0, 4.0),
                (0.0, 0.0, 4.5),
                "load average above its 4",
            ),
        ] {
            let mut feed = Feed::new(rules);
            assert_eq!(feed.seconds(1, || reading(at.0, at.1, at.2)).full(), None);
            let full = feed.seconds(120, || reading(above.0, above.1, above.2)).full();
            assert_eq!(full, Some(format!("full: {said}")));
            assert_eq!(feed.seconds(120, || reading(at.0, at.1, at.2)).full(), None);
        }
    }

    #[test]
    fn a_listed_program_fills_the_machine_while_it_is_awake_and_shortly_after() {
        let listed = Listed { name: "matlab".into(), folder: "/home/".into(), command_line: "-batch".into() };
        let mut feed = Feed::new(Rules { blacklist: vec![listed], ..Rules::default() });
        assert!(feed.monitor.has_list());
        let with = |name: &'static str, folder: &'static str, line: &'static str| {
            move || Reading { awake: vec![process(name, folder, line)], ..reading(1.0, 1.0, 0.0) }
        };
        for other in [
            with("octave", "/home/ann", "octave -batch x"),
            with("matlab", "/srv", "matlab -batch x"),
            with("matlab", "", "matlab -batch x"),
            with("matlab", "/home/ann", "matlab"),
        ] {
            assert_eq!(feed.seconds(1, other).full(), None, "all three texts must be there");
        }
        let full = feed.seconds(1, with("matlab_2026", "/home/ann", "matlab -batch x")).full();
        assert_eq!(full.as_deref(), Some("full: 'matlab_2026' runs, which is on its list"));
        assert!(feed.seconds(9, || reading(1.0, 1.0, 0.0)).full().is_some(), "it may wait for its disk");
        assert_eq!(feed.seconds(1, || reading(1.0, 1.0, 0.0)).full(), None);
    }

    #[test]
    fn rules_are_changed_without_a_break() {
        let mut feed = Feed::new(Rules::default());
        assert_eq!(feed.seconds(60, || reading(95.0, 10.0, 1.0)).full(), None);
        feed.monitor.set_rules(Rules { cpu_percent_max: Some(90.0), ..Rules::default() });
        assert!(feed.monitor.full().is_some(), "readings are kept");
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let error = |rules: Rules| rules.check().unwrap_err().to_string();
        let base = Rules::default;
        assert!(error(Rules { cpu_percent_max: Some(0.0), ..base() }).contains("cpu_percent_max"));
        assert!(error(Rules { memory_percent_max: Some(f32::NAN), ..base() }).contains("memory_percent_max"));
        assert!(error(Rules { load_average_max: Some(-1.0), ..base() }).contains("not -1"));
        assert!(error(Rules { window_s: 0, ..base() }).contains("from 1 to 3600, not 0"));
        assert!(error(Rules { blacklist: vec![Listed::default()], ..base() }).contains("every process"));
    }
}
