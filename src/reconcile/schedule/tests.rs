//! A schedule in a world whose time we make.

use super::*;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const MINUTE: Duration = Duration::from_secs(60);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn terms(interval: Duration, host: &str, seed: u64) -> Terms {
    let host = (!host.is_empty()).then(|| host.to_owned());
    Terms { interval, host, seed }
}

/// Lets time pass. Each remote answers after what `answer` says of it.
struct World {
    schedule: Schedule,
    now: Duration,
    /// When which question ends, and how.
    under_way: BinaryHeap<Reverse<(Duration, RemoteId)>>,
    asked: Vec<(Duration, RemoteId)>,
}

impl World {
    fn new(per_host: usize, remotes: impl IntoIterator<Item = Terms>) -> Self {
        let mut schedule = Schedule::new(per_host);
        schedule.add((0..).zip(remotes).collect(), Duration::ZERO);
        Self {
            schedule,
            now: Duration::ZERO,
            under_way: BinaryHeap::new(),
            asked: Vec::new(),
        }
    }

    /// Turns until the time, as the daemon does: wakes, asks all that are due, waits for the next end or time.
    fn run(&mut self, until: Duration, mut answer: impl FnMut(RemoteId) -> (Duration, Verdict)) {
        loop {
            for id in self.schedule.due(self.now) {
                self.asked.push((self.now, id));
                self.under_way.push(Reverse((self.now + answer(id).0, id)));
            }
            let wake = self.schedule.next_wake();
            let end = self.under_way.peek().map(|Reverse((at, _))| *at);
            let Some(next) = wake.into_iter().chain(end).min().filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            while let Some(Reverse((at, id))) = self.under_way.peek().copied()
                && at <= self.now
            {
                self.under_way.pop();
                let verdict = answer(id).1;
                self.schedule.answered(id, verdict, self.now);
            }
        }
    }

    fn looks(&self, of: RemoteId) -> Vec<Duration> {
        self.asked
            .iter()
            .filter(|(_, id)| *id == of)
            .map(|(at, _)| *at)
            .collect()
    }
}

fn fine(_: RemoteId) -> (Duration, Verdict) {
    (ms(10), Verdict::Fine)
}

fn failed(silent: bool, pause: Option<u64>) -> Verdict {
    let pause = pause.map(Duration::from_secs);
    Verdict::Failed { silent, pause }
}

#[test]
fn one_remote_is_asked_at_once_and_then_each_interval() {
    for interval in [ms(1), ms(100), ms(999), MINUTE, MINUTE * 60 * 24] {
        let mut world = World::new(4, [terms(interval, "h", 7)]);
        world.run(interval * 20, |_| (Duration::from_nanos(1), Verdict::Fine));
        let looks = world.looks(0);
        assert_eq!(looks[0], Duration::ZERO);
        assert!((20..=21).contains(&looks.len()), "{interval:?}: {}", looks.len());
        let grain = (interval / 60).max(ms(1));
        assert!(
            looks.windows(2).all(|w| w[1] - w[0] <= interval + grain),
            "{interval:?}: {looks:?}"
        );
    }
}

#[test]
fn thousands_are_spread_over_the_interval_and_none_is_forgotten() {
    let host = |n: u64| format!("host{}", n % 50);
    let mut world = World::new(4, (0..10_000).map(|n| terms(MINUTE, &host(n), n)));
    world.run(MINUTE * 5, fine);
    let mut by_second = vec![0; 301];
    for (at, _) in &world.asked {
        by_second[usize::try_from(at.as_secs()).unwrap()] += 1;
    }
    // The first looks too; on average it is 167 a second, in the first minute those of both kinds meet.
    assert!(by_second[..120].iter().all(|n| *n <= 450), "{by_second:?}");
    assert!(
        by_second[120..300].iter().all(|n| (80..=280).contains(n)),
        "{by_second:?}"
    );
    // Woken once a second for all that are due, not for each.
    let mut wakes: Vec<Duration> = world
        .asked
        .iter()
        .map(|(at, _)| *at)
        .filter(|at| *at > MINUTE * 2)
        .collect();
    wakes.dedup();
    assert!(wakes.len() < 3 * 60 * 20, "{}", wakes.len());
    let mut times: HashMap<RemoteId, Vec<Duration>> = HashMap::new();
    for (at, id) in &world.asked {
        times.entry(*id).or_default().push(*at);
    }
    assert_eq!(times.len(), 10_000);
    for looks in times.values() {
        assert!(looks.windows(2).all(|w| w[1] - w[0] <= MINUTE + ms(2000)), "{looks:?}");
        assert!(looks[0] <= MINUTE);
    }
}

#[test]
fn a_black_hole_among_a_thousand_delays_the_others_by_less_than_a_second() {
    let second = Duration::from_secs(1);
    let all_on_one_host = |n: u64| terms(second * 10, "h", n);
    let mut alone = World::new(4, (0..1000).map(all_on_one_host));
    alone.run(MINUTE, fine);
    let mut with_hole = World::new(4, (0..1000).map(all_on_one_host));
    with_hole.run(MINUTE, |id| {
        if id == 500 {
            (second * 30, failed(true, None))
        } else {
            fine(id)
        }
    });
    for id in (0..1000).filter(|id| *id != 500) {
        let (calm, troubled) = (alone.looks(id), with_hole.looks(id));
        assert!(calm.len().abs_diff(troubled.len()) <= 1, "{id}");
        for (calm, troubled) in calm.iter().zip(&troubled) {
            assert!(*troubled < *calm + second, "{id}: {calm:?} {troubled:?}");
        }
    }
}

#[test]
fn hosts_that_hang_hold_up_no_other_host() {
    let hanging = (0..1000).map(|n| terms(MINUTE, &format!("dead{n}"), n));
    let mut world = World::new(4, hanging.chain([terms(MINUTE, "good", 1)]));
    world.run(MINUTE * 20, |id| {
        if id < 1000 {
            (Duration::from_secs(30), failed(true, None))
        } else {
            fine(id)
        }
    });
    let looks = world.looks(1000);
    assert!(looks.len() >= 19, "{looks:?}");
    // After the first round, when nobody could know.
    let settled = looks.iter().filter(|at| **at > MINUTE * 6).copied().collect::<Vec<_>>();
    assert!(
        settled
            .windows(2)
            .all(|w| w[1] - w[0] < MINUTE + Duration::from_secs(2)),
        "{settled:?}"
    );
}

#[test]
fn a_host_is_asked_for_no_more_than_its_share_at_once() {
    for per_host in [1, 2, 4, 16] {
        let mut most = 0;
        let mut now = HashMap::<RemoteId, ()>::new();
        let mut schedule = Schedule::new(per_host);
        schedule.add(
            (0..100).map(|n| (n, terms(ms(500), "h", u64::from(n)))).collect(),
            Duration::ZERO,
        );
        let mut random = 1u64;
        for step in 0..20_000u64 {
            let at = ms(step);
            now.extend(schedule.due(at).into_iter().map(|id| (id, ())));
            most = most.max(now.len());
            random = hash(&random);
            let ended = now
                .keys()
                .copied()
                .min_by_key(|id| hash(&(random, id)))
                .filter(|_| random.is_multiple_of(9));
            if let Some(id) = ended {
                now.remove(&id);
                let verdict = if id % 7 == 0 { failed(true, None) } else { Verdict::Fine };
                schedule.answered(id, verdict, at);
            }
        }
        assert_eq!(most, per_host);
    }
}

#[test]
fn failures_are_asked_less_and_less_often_until_they_are_over() {
    let mut world = World::new(4, [terms(MINUTE, "h", 3)]);
    world.run(MINUTE * 120, |_| (ms(10), failed(false, None)));
    let looks = world.looks(0);
    let gaps: Vec<f64> = looks.windows(2).map(|w| (w[1] - w[0]).as_secs_f64() / 60.0).collect();
    for (gap, expected) in gaps.iter().zip([1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]) {
        assert!((gap - expected).abs() <= expected / 7.9, "{gaps:?}");
    }
    assert!(
        gaps[4..].windows(2).any(|w| (w[0] - w[1]).abs() > 0.01),
        "no jitter: {gaps:?}"
    );
    let before = world.asked.len();
    world.run(MINUTE * 180, fine);
    assert!(world.asked.len() - before > 45, "{}", world.asked.len() - before);
}

#[test]
fn a_host_that_asks_for_peace_gets_it() {
    let remotes = (0..20)
        .map(|n| terms(ms(1000), "busy", n))
        .chain([terms(ms(1000), "other", 1)]);
    let mut world = World::new(4, remotes);
    world.run(ms(500), |id| {
        (
            ms(1),
            if id < 20 {
                failed(false, Some(60))
            } else {
                Verdict::Fine
            },
        )
    });
    let before: Vec<_> = world.asked.clone();
    world.run(Duration::from_secs(59), fine);
    // Those of its slots that were under way when it said so.
    let of_busy = |asked: &[(Duration, RemoteId)]| asked.iter().filter(|(_, id)| *id < 20).count();
    assert!(of_busy(&before) <= 4, "{before:?}");
    assert_eq!(of_busy(&world.asked), of_busy(&before));
    assert!(world.looks(20).len() > 55);
    // A person may insist.
    world.schedule.poke(7);
    world.run(Duration::from_secs(59) + ms(100), fine);
    assert_eq!(of_busy(&world.asked), of_busy(&before) + 1);
    world.run(Duration::from_secs(63), fine);
    assert!((0..20).all(|id| world.looks(id).iter().any(|at| at.as_secs() >= 60)));
    // A server cannot have itself forgotten.
    let mut world = World::new(4, [terms(MINUTE, "h", 1)]);
    world.run(MINUTE, |_| (ms(1), failed(false, Some(u64::MAX))));
    assert!(world.schedule.next_look(0).unwrap() < MINUTE * 60 * 25);
}

#[test]
fn a_poke_is_never_lost() {
    let mut schedule = Schedule::new(1);
    schedule.add(
        vec![(1, terms(MINUTE, "h", 1)), (2, terms(MINUTE, "h", 2))],
        Duration::ZERO,
    );
    assert_eq!(schedule.due(ms(30)), [1]);
    schedule.poke(1);
    schedule.poke(2);
    assert!(schedule.due(ms(30)).is_empty(), "the host has one slot");
    schedule.answered(1, Verdict::Fine, ms(40));
    assert_eq!(schedule.due(ms(40)), [2]);
    schedule.answered(2, Verdict::Fine, ms(50));
    assert_eq!(schedule.due(ms(50)), [1], "it was poked while it was asked");
    schedule.answered(1, Verdict::Fine, ms(60));
    assert!(schedule.due(ms(60)).is_empty());
    assert!(schedule.next_look(1).unwrap() > ms(60));
}

#[test]
fn another_interval_holds_from_now_on() {
    let mut world = World::new(4, [terms(MINUTE * 60, "h", 1)]);
    world.run(ms(100), fine);
    world.schedule.set_interval(0, Duration::from_secs(1), world.now);
    world.run(Duration::from_secs(10), fine);
    assert!(world.looks(0).len() >= 10, "{:?}", world.looks(0));
    let mut never = World::new(4, [terms(Duration::MAX, "h", u64::MAX)]);
    never.run(MINUTE, |_| (ms(1), failed(true, Some(u64::MAX))));
    assert!(!never.looks(0).is_empty());
}

#[derive(Debug, Clone)]
enum Op {
    Add(u8),
    Remove(u8),
    Poke(u8),
    Answer(u8, u8),
    Pass(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..4u8).prop_map(Op::Add),
        (0..20u8).prop_map(Op::Remove),
        (0..20u8).prop_map(Op::Poke),
        (any::<u8>(), 0..4u8).prop_map(|(which, how)| Op::Answer(which, how)),
        (0..3000u16).prop_map(Op::Pass),
    ]
}

proptest! {
    /// Whatever happens, limits hold, no slot leaks, and everyone is asked in the end.
    #[test]
    fn slots_neither_leak_nor_are_made_up(ops in proptest::collection::vec(op(), 1..200)) {
        let mut schedule = Schedule::new(2);
        let (mut now, mut next) = (Duration::ZERO, 0);
        let mut hosts: BTreeMap<RemoteId, String> = BTreeMap::new();
        let mut under_way: Vec<RemoteId> = Vec::new();
        for op in ops {
            match op {
                Op::Add(host) => {
                    let host = format!("h{host}");
                    schedule.add(vec![(next, terms(ms(1000), &host, next.into()))], now);
                    hosts.insert(next, host);
                    next += 1;
                }
                Op::Remove(id) => {
                    schedule.remove(id.into());
                    hosts.remove(&id.into());
                    under_way.retain(|u| *u != u32::from(id));
                }
                Op::Poke(id) => schedule.poke(id.into()),
                Op::Answer(which, how) if !under_way.is_empty() => {
                    let id = under_way.remove(usize::from(which) % under_way.len());
                    let verdict = match how {
                        0 => Verdict::Fine,
                        how => failed(how == 1, (how == 3).then_some(2)),
                    };
                    schedule.answered(id, verdict, now);
                }
                Op::Answer(..) => {}
                Op::Pass(time) => now += ms(time.into()),
            }
            for id in schedule.due(now) {
                prop_assert!(hosts.contains_key(&id) && !under_way.contains(&id));
                under_way.push(id);
            }
            for host in hosts.values() {
                let busy = under_way.iter().filter(|id| hosts.get(id) == Some(host)).count();
                prop_assert!(busy <= 2);
            }
        }
        let mut asked: BTreeSet<RemoteId> = BTreeSet::new();
        for _ in 0..1000 {
            now += ms(500);
            for id in under_way.drain(..) {
                schedule.answered(id, Verdict::Fine, now);
            }
            under_way = schedule.due(now);
            asked.extend(&under_way);
        }
        prop_assert_eq!(asked, hosts.keys().copied().collect::<BTreeSet<_>>());
    }
}
