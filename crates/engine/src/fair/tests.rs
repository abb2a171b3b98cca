//! The queue beside a naive one, and what it promises, in virtual time.

use super::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

type Queue = FairQueue<u8, u8, i64>;

/// A generator of numbers that are random enough.
struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// The rule, word by word: a list that is looked through from the beginning each time.
#[derive(Default)]
struct Naive {
    waiting: Vec<Place<u8, u8>>,
    running: Vec<Place<u8, u8>>,
    served: HashMap<u8, u64>,
    decisions: u64,
}

impl Naive {
    fn pop(&mut self, runs_max: usize, slots: Slots) -> Option<i64> {
        if self.running.len() >= runs_max {
            return None;
        }
        let running_of = |owner| self.running.iter().filter(|run| run.owner == owner).count();
        let running_process = |process| self.running.iter().filter(|run| run.process == process).count();
        let served = |owner| self.served.get(&owner).copied().unwrap_or(0);
        let mut best: Option<(Rank, usize)> = None;
        for (at, place) in self.waiting.iter().enumerate() {
            if running_of(place.owner) >= slots.owner || running_process(place.process) >= slots.process {
                continue;
            }
            let rank = Rank {
                priority: place.priority,
                running: running_of(place.owner),
                served: served(place.owner),
                sequence: place.sequence,
            };
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, at));
            }
        }
        let place = self.waiting.remove(best?.1);
        self.decisions += 1;
        self.served.insert(place.owner, self.decisions);
        let sequence = place.sequence;
        self.running.push(place);
        Some(sequence)
    }

    /// Who neither waits nor runs is new when they come again.
    fn forget(&mut self) {
        let (waiting, running) = (&self.waiting, &self.running);
        self.served.retain(|owner, _| waiting.iter().chain(running).any(|place| place.owner == *owner));
    }
}

#[test]
fn it_decides_as_a_naive_queue_does() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let (runs_max, slots) = (
            1 + random.below(6) as usize,
            Slots { owner: 1 + random.below(4) as usize, process: 1 + random.below(4) as usize },
        );
        let (mut queue, mut naive) = (Queue::new(runs_max), Naive::default());
        for sequence in 0..600 {
            match random.below(8) {
                0..=3 => {
                    let priority =
                        [Priority::High, Priority::Normal, Priority::Low][random.below(3) as usize];
                    let (owner, process) = (random.below(5) as u8, random.below(4) as u8);
                    let place = Place { owner, process, priority, sequence };
                    queue.push(place.clone(), slots, sequence);
                    naive.waiting.push(place);
                }
                4 | 5 => assert_eq!(queue.pop(), naive.pop(runs_max, slots), "seed {seed}"),
                6 if !naive.running.is_empty() => {
                    let at = random.below(naive.running.len() as u64) as usize;
                    let ended = naive.running.remove(at);
                    queue.ended(&ended.owner, &ended.process);
                    naive.forget();
                }
                7 if !naive.waiting.is_empty() => {
                    let at = random.below(naive.waiting.len() as u64) as usize;
                    let gone = naive.waiting.remove(at);
                    assert_eq!(queue.remove(&gone), Some(gone.sequence));
                    assert_eq!(queue.remove(&gone), None);
                    naive.forget();
                }
                _ => {}
            }
            assert_eq!((queue.waiting(), queue.running()), (naive.waiting.len(), naive.running.len()));
        }
        while let Some(expected) = naive.pop(runs_max, slots) {
            assert_eq!(queue.pop(), Some(expected), "seed {seed}");
        }
        while let Some(run) = naive.running.pop() {
            queue.ended(&run.owner, &run.process);
            naive.forget();
            while let Some(expected) = naive.pop(runs_max, slots) {
                assert_eq!(queue.pop(), Some(expected), "seed {seed}");
            }
        }
        assert!(queue.pop().is_none() && queue.owners.is_empty() && queue.gates.is_empty());
        assert!(queue.lanes.is_empty() && queue.open.is_empty(), "nothing is left behind");
    }
}

/// Runs a queue in virtual time, from `now` on; tells when each job began.
struct Simulation {
    queue: Queue,
    now: u64,
    ends: BinaryHeap<Reverse<(u64, u8, u8)>>,
    began: HashMap<i64, u64>,
}

impl Simulation {
    fn new(runs_max: usize) -> Self {
        Self { queue: Queue::new(runs_max), now: 0, ends: BinaryHeap::new(), began: HashMap::new() }
    }

    /// Begins what can be begun; `of` says whose a job is, of what, and how long it takes.
    fn begin(&mut self, of: impl Fn(i64) -> (u8, u8, u64)) {
        while let Some(job) = self.queue.pop() {
            let (owner, process, length) = of(job);
            self.began.insert(job, self.now);
            self.ends.push(Reverse((self.now + length, owner, process)));
        }
    }

    fn step(&mut self, of: impl Fn(i64) -> (u8, u8, u64)) -> bool {
        let Some(Reverse((at, owner, process))) = self.ends.pop() else { return false };
        self.now = at;
        self.queue.ended(&owner, &process);
        self.begin(of);
        true
    }
}

const ROOMY: Slots = Slots { owner: usize::MAX, process: usize::MAX };

#[test]
fn ten_thousand_jobs_of_one_delay_the_first_of_another_by_one_job_at_most() {
    const LENGTH_MAX: u64 = 1000;
    for seed in 0..5 {
        let mut random = Random(seed);
        let slots = 1 + random.below(8) as usize;
        let lengths: Vec<u64> = (0..10_010).map(|_| 1 + random.below(LENGTH_MAX)).collect();
        // The others come one after the other, while the ten thousand are worked on.
        let of = |job: i64| (if job < 10_000 { 0 } else { (job - 9_999) as u8 }, 0, lengths[job as usize]);
        let mut simulation = Simulation::new(slots);
        let place = |job| Place { owner: of(job).0, process: 0, priority: Priority::Normal, sequence: job };
        for job in 0..10_000 {
            simulation.queue.push(place(job), ROOMY, job);
        }
        simulation.begin(of);
        for job in 10_000..10_010 {
            for _ in 0..random.below(300) {
                simulation.step(of);
            }
            let came = simulation.now;
            simulation.queue.push(place(job), ROOMY, job);
            simulation.begin(of);
            while !simulation.began.contains_key(&job) {
                assert!(simulation.step(of));
            }
            let waited = simulation.began[&job] - came;
            assert!(waited <= LENGTH_MAX, "seed {seed}: {waited} with {slots} slots");
        }
        while simulation.step(of) {}
        assert_eq!(simulation.began.len(), 10_010, "all were run in the end");
    }
}

#[test]
fn slots_are_shared_out_and_none_is_left_idle() {
    let of = |job: i64| ((job % 4) as u8, 0, 10);
    let mut simulation = Simulation::new(8);
    // The first owner has many more than the others, and came first.
    for job in (0..4000).step_by(4).chain((0..400).filter(|job| job % 4 != 0)) {
        let place = Place { owner: of(job).0, process: 0, priority: Priority::Normal, sequence: job };
        simulation.queue.push(place, ROOMY, job);
    }
    simulation.begin(of);
    let mut of_owner = [0; 4];
    for _ in 0..400 {
        simulation.step(of);
        (0..4).for_each(|owner| of_owner[usize::from(owner)] += simulation.queue.running_of(&owner));
        assert_eq!(simulation.queue.running(), 8);
    }
    assert!(of_owner[1..].iter().all(|share| share.abs_diff(of_owner[1]) <= 40), "{of_owner:?}");
    assert!(of_owner[0] >= of_owner[1], "what the others don't need is the first one's: {of_owner:?}");
}

#[test]
fn high_goes_before_low_and_a_full_process_leaves_the_slots_to_others() {
    let mut queue = Queue::new(2);
    let slots = Slots { owner: 9, process: 1 };
    let mut push = |owner, process, priority, sequence| {
        queue.push(Place { owner, process, priority, sequence }, slots, sequence);
    };
    push(0, 0, Priority::Low, 1);
    push(0, 0, Priority::High, 2);
    push(1, 0, Priority::Normal, 3);
    push(1, 1, Priority::Low, 4);
    assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(2), Some(4), None));
    queue.ended(&0, &0);
    assert_eq!(queue.pop(), Some(3));
    queue.ended(&1, &0);
    assert_eq!(queue.pop(), Some(1));
}

#[test]
fn runs_at_other_nodes_count_for_their_owner_and_process_and_take_no_slot() {
    let elsewhere = |owners: &[(u8, usize)], processes: &[(u8, usize)]| {
        let mut elsewhere = Elsewhere::default();
        for (owner, running) in owners {
            elsewhere.owners.entry(*owner).or_default().add(Told { running: *running, ..Told::default() });
        }
        for (process, running) in processes {
            elsewhere
                .processes
                .entry(*process)
                .or_default()
                .add(Told { running: *running, ..Told::default() });
        }
        elsewhere
    };
    let mut queue = Queue::new(10).with_process_runs_max(3);
    let place = |owner, process, sequence| Place { owner, process, priority: Priority::Normal, sequence };
    let slots = Slots { owner: 2, process: 4 };
    queue.set_elsewhere(elsewhere(&[(1, 2)], &[]));
    queue.push(place(1, 1, 1), slots, 1);
    assert_eq!(queue.pop(), None, "both runs of 1 are elsewhere");
    queue.push(place(2, 1, 2), slots, 2);
    assert_eq!(queue.pop(), Some(2));
    queue.set_elsewhere(elsewhere(&[(1, 1)], &[(1, 3)]));
    assert_eq!(queue.pop(), None, "the process has four");
    queue.set_elsewhere(elsewhere(&[(1, 1)], &[(1, 2)]));
    assert_eq!(queue.pop(), Some(1));
    queue.set_elsewhere(Elsewhere::default());
    for sequence in 3..6 {
        queue.push(place(3 + sequence as u8, 1, sequence), Slots { owner: 2, process: 9 }, sequence);
    }
    assert_eq!((queue.pop(), queue.pop()), (Some(3), None), "three of a process run here at once");
    queue.ended(&1, &1);
    assert_eq!((queue.pop(), queue.running()), (Some(4), 3));
}

/// What all of these but one have.
fn elsewhere(nodes: &[Queue], here: usize) -> Elsewhere<u8, u8> {
    let mut elsewhere = Elsewhere::default();
    for (_, node) in nodes.iter().enumerate().filter(|(node, _)| *node != here) {
        for owner in node.owners.keys() {
            elsewhere.owners.entry(*owner).or_default().add(node.told_of_owner(owner));
        }
        for process in node.gates.keys() {
            elsewhere.processes.entry(*process).or_default().add(node.told_of_process(process));
        }
    }
    elsewhere
}

/// Until everybody knows what the others make of what they know: what runs, then what owners would begin, then what processes would.
fn tell(nodes: &mut [Queue]) {
    for _ in 0..3 {
        for here in 0..nodes.len() {
            let elsewhere = elsewhere(nodes, here);
            nodes[here].set_elsewhere(elsewhere);
        }
    }
}

/// What begins, in its order, and where.
fn begin(nodes: &mut [Queue]) -> Vec<(i64, usize)> {
    let mut began = Vec::new();
    tell(nodes);
    while let Some(next) = nodes.iter_mut().enumerate().find_map(|(at, node)| node.pop().map(|job| (job, at)))
    {
        began.push(next);
        tell(nodes);
    }
    began
}

#[test]
fn queues_that_know_of_each_other_decide_as_one() {
    const NODES: usize = 3;
    for seed in 0..20 {
        let mut random = Random(seed);
        let slots = Slots { owner: 1 + random.below(3) as usize, process: 1 + random.below(4) as usize };
        let (mut nodes, mut one) = ([(); NODES].map(|()| Queue::new(1000)), Queue::new(1000));
        let (mut running, mut places) = (Vec::new(), HashMap::new());
        for sequence in 0..400 {
            if random.below(2) == 0 || running.is_empty() {
                let priority = [Priority::High, Priority::Normal, Priority::Low][random.below(3) as usize];
                let place = Place { owner: random.below(5) as u8, process: 0, priority, sequence };
                nodes[random.below(NODES as u64) as usize].push(place.clone(), slots, sequence);
                one.push(place.clone(), slots, sequence);
                places.insert(sequence, place);
            } else {
                let at = random.below(running.len() as u64) as usize;
                let (ended, node): (i64, usize) = running.swap_remove(at);
                let Place { owner, process, .. } = &places[&ended];
                nodes[node].ended(owner, process);
                one.ended(owner, process);
            }
            let began = begin(&mut nodes);
            let by_one: Vec<i64> = std::iter::from_fn(|| one.pop()).collect();
            assert_eq!(began.iter().map(|(job, _)| *job).collect::<Vec<_>>(), by_one, "seed {seed}");
            running.extend(began);
        }
    }
}

#[test]
fn queues_that_know_of_each_other_keep_limits_and_leave_no_place_idle() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let slots = Slots { owner: 1 + random.below(3) as usize, process: 1 + random.below(3) as usize };
        let mut nodes = [(); 3].map(|()| Queue::new(3).with_process_runs_max(2));
        let mut waiting: Vec<(Place<u8, u8>, usize)> = Vec::new();
        let mut running = waiting.clone();
        for sequence in 0..400 {
            if random.below(2) == 0 || running.is_empty() {
                let (owner, process) = (random.below(5) as u8, random.below(4) as u8);
                let place = Place { owner, process, priority: Priority::Normal, sequence };
                let at = random.below(3) as usize;
                nodes[at].push(place.clone(), slots, sequence);
                waiting.push((place, at));
            } else {
                let (ended, at) = running.swap_remove(random.below(running.len() as u64) as usize);
                nodes[at].ended(&ended.owner, &ended.process);
            }
            for (began, _) in begin(&mut nodes) {
                let at = waiting.iter().position(|(place, _)| place.sequence == began).unwrap();
                running.push(waiting.swap_remove(at));
            }
            let of = |owner| running.iter().filter(|(place, _)| place.owner == owner).count();
            let of_process = |process| running.iter().filter(|(place, _)| place.process == process).count();
            assert!((0..5).all(|owner| of(owner) <= slots.owner), "seed {seed}");
            assert!((0..4).all(|process| of_process(process) <= slots.process), "seed {seed}");
            for (place, at) in &waiting {
                let may = of(place.owner) < slots.owner
                    && of_process(place.process) < slots.process
                    && nodes[*at].running() < 3
                    && nodes[*at].running_process(&place.process) < 2;
                assert!(!may, "seed {seed}: {place:?} could have begun");
            }
        }
    }
}

#[test]
fn a_place_that_nobody_elsewhere_takes_is_taken_in_the_end() {
    let slots = Slots { owner: 9, process: 1 };
    let place = |owner, sequence| Place { owner, process: 0, priority: Priority::Normal, sequence };
    let mut nodes = [(); 2].map(|()| Queue::new(10));
    for sequence in [1, 2, 3] {
        nodes[0].push(place(0, sequence), slots, sequence);
    }
    assert_eq!(nodes[0].pop(), Some(1));
    nodes[1].push(place(1, 4), slots, 4);
    tell(&mut nodes);
    // The other one stands still from now on.
    for next in [2, 3] {
        nodes[0].ended(&0, &0);
        for _ in 0..LEFT_LOOKS_MAX {
            assert_eq!(nodes[0].pop(), None, "the place is the other one's");
            assert!(nodes[0].is_contended());
            let elsewhere = elsewhere(&nodes, 0);
            nodes[0].set_elsewhere(elsewhere);
        }
        assert_eq!((nodes[0].pop(), nodes[0].pop()), (Some(next), None));
    }
    nodes[0].ended(&0, &0);
    tell(&mut nodes);
    assert_eq!((nodes[1].pop(), nodes[1].pop()), (Some(4), None));
    nodes[1].ended(&1, &0);
    tell(&mut nodes);
    assert!(nodes.iter().all(|node| !node.is_contended()), "nobody waits any more");
}
