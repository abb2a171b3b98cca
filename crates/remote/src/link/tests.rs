//! Two links joined by a simulated transport with virtual time.

use std::time::{Duration, Instant};

use super::*;

/// A generator of its own, so that a failing seed fails again anywhere (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % sides
    }
}

#[derive(Clone, Copy)]
struct Weather {
    loss_percent: u64,
    repeat_percent: u64,
    delay_ms_max: u64,
}

/// Two ends, the segments between them, and a clock.
struct Pair {
    ends: [Link<u32>; 2],
    /// When it arrives, at which end, and what.
    under_way: Vec<(Instant, usize, Segment<u32>)>,
    got: [Vec<u32>; 2],
    now: Instant,
    dice: Dice,
    weather: Weather,
    connected: bool,
}

impl Pair {
    fn new(seed: u64, weather: Weather) -> Self {
        Self {
            ends: [Link::default(), Link::default()],
            under_way: Vec::new(),
            got: [Vec::new(), Vec::new()],
            now: Instant::now(),
            dice: Dice(seed * 2 + 1),
            weather,
            connected: true,
        }
    }

    fn step(&mut self, by: Duration) {
        self.transmit();
        self.now += by;
        self.arrive();
        for end in 0..2 {
            while let Some((seq, message)) = self.ends[end].deliver() {
                self.got[end].push(message);
                self.ends[end].done(seq);
            }
        }
    }

    fn transmit(&mut self) {
        for end in 0..2 {
            while let Some(segment) = self.ends[end].poll(self.now) {
                let copies = 1 + u64::from(self.dice.roll(100) < self.weather.repeat_percent);
                for _ in 0..copies {
                    let lost = self.dice.roll(100) < self.weather.loss_percent || !self.connected;
                    let delay = Duration::from_millis(self.dice.roll(self.weather.delay_ms_max + 1));
                    if !lost {
                        self.under_way.push((self.now + delay, 1 - end, segment.clone()));
                    }
                }
            }
        }
    }

    fn arrive(&mut self) {
        let (now, all) = (self.now, std::mem::take(&mut self.under_way));
        let (mut here, still): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, _, _)| *at <= now);
        self.under_way = still;
        here.sort_by_key(|(at, _, _)| *at);
        for (_, end, segment) in here {
            self.ends[end].handle(segment);
        }
    }

    /// Sends `count` messages from each end and runs until all have arrived.
    fn converse(&mut self, count: u32) {
        let mut said = [0, 0];
        for _ in 0..100_000 {
            for (end, said) in self.ends.iter_mut().zip(&mut said) {
                while *said < count && end.send(*said).is_ok() {
                    *said += 1;
                }
            }
            self.step(Duration::from_millis(50));
            if self.got.iter().all(|got| got.len() == count as usize)
                && self.ends.iter().all(Link::is_settled)
            {
                return;
            }
        }
        panic!("not finished: {:?} of {count} arrived", [self.got[0].len(), self.got[1].len()]);
    }
}

const FAIR: Weather = Weather { loss_percent: 0, repeat_percent: 0, delay_ms_max: 0 };

#[test]
fn every_message_arrives_once_and_in_order_whatever_the_transport_does() {
    for seed in 0..200 {
        let weather = Weather { loss_percent: seed % 60, repeat_percent: seed % 37, delay_ms_max: seed * 20 };
        let mut pair = Pair::new(seed, weather);
        pair.converse(100);
        let wanted: Vec<u32> = (0..100).collect();
        assert_eq!(pair.got, [wanted.clone(), wanted], "seed {seed}");
    }
}

#[test]
fn on_a_fair_transport_nothing_is_sent_twice() {
    let mut pair = Pair::new(1, FAIR);
    pair.converse(500);
    assert_eq!(pair.ends.each_ref().map(Link::resent), [0, 0]);
}

#[test]
fn after_a_reconnect_nobody_waits_for_the_timer() {
    let mut pair = Pair::new(1, FAIR);
    pair.connected = false;
    pair.ends[0].send(7).unwrap();
    pair.step(Duration::from_millis(10));
    pair.connected = true;
    pair.step(Duration::from_millis(10));
    assert!(pair.got[1].is_empty(), "the timer of 3 s is far away");
    pair.ends[0].resend_all();
    pair.step(Duration::from_millis(10));
    assert_eq!(pair.got[1], [7]);
}

#[test]
fn the_window_is_bounded_at_both_ends() {
    let mut sender = Link::default();
    let sent = (0..1000).take_while(|n| sender.send(*n).is_ok()).count();
    assert_eq!(sent, WINDOW_MESSAGES_MAX);
    let mut receiver: Link<u64> = Link::default();
    for seq in 1..1000 {
        receiver.handle(Segment { ack: 0, message: Some((seq, seq)) });
    }
    let delivered = std::iter::from_fn(|| receiver.deliver()).count();
    assert_eq!(delivered, WINDOW_MESSAGES_MAX, "a sender that ignores the window is not kept in memory");
}

#[test]
fn nothing_is_acknowledged_before_its_effect() {
    let now = Instant::now();
    let mut receiver: Link<&str> = Link::default();
    receiver.handle(Segment { ack: 0, message: Some((1, "a")) });
    let (seq, _) = receiver.deliver().unwrap();
    assert_eq!(receiver.poll(now), None);
    receiver.handle(Segment { ack: 0, message: Some((1, "a")) });
    assert_eq!((receiver.deliver(), receiver.poll(now)), (None, None), "a repetition changes nothing");
    receiver.done(seq);
    assert_eq!(receiver.poll(now), Some(Segment { ack: 1, message: None }));
}

#[test]
fn a_receiver_that_lost_its_state_goes_on() {
    let mut pair = Pair::new(5, FAIR);
    pair.converse(10);
    pair.connected = false;
    for n in 10..15 {
        pair.ends[0].send(n).unwrap();
    }
    pair.step(Duration::from_millis(10));
    let (oldest, received) = (pair.ends[0].oldest(), pair.ends[0].received());
    pair.ends[1] = Link::resume(received + 1, oldest);
    pair.ends[1].send(99).unwrap();
    pair.ends[0].resend_all();
    pair.connected = true;
    pair.step(Duration::from_millis(10));
    pair.step(Duration::from_millis(10));
    assert_eq!(pair.got[1], (0..15).collect::<Vec<_>>());
    assert_eq!(pair.got[0].last(), Some(&99));
}

#[test]
fn acknowledgements_that_were_never_earned_change_nothing() {
    let mut link = Link::default();
    link.send(1).unwrap();
    assert!(link.handle(Segment { ack: u64::MAX, message: None }).is_empty());
    assert!(link.handle(Segment { ack: 2, message: None }).is_empty());
    assert_eq!(link.handle(Segment { ack: 1, message: None }), [1]);
    assert!(link.handle(Segment { ack: 0, message: None }).is_empty(), "an old one");
}
