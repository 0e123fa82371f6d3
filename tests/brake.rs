//! The outage brake on simulated streams of hard bounces: what it holds of ordinary ones, and of those in which a server
//! called thousands of living accounts dead. The tables of docs/policy.md are printed here. Seeds are fixed, and time
//! is what the streams say.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write,
    fs,
};

use bounced::policy::{
    HOUR,
    brake::{Brake, Hour, hour_of},
};

const DAY: i64 = 24 * HOUR;
/// Monday, 2 November 2020, 00:00 UTC.
const START: i64 = 1_604_275_200;
/// Tuesday, 15 December 2020, 21:17 UTC.
const OUTAGE: i64 = START + 43 * DAY + 21 * HOUR + 17 * 60;

/// SplitMix64: the same numbers with every version of every crate.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: i64) -> i64 {
        (self.roll() % end.unsigned_abs()) as i64
    }

    fn chance(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            let other = self.below(last as i64 + 1) as usize;
            all.swap(last, other);
        }
    }
}

/// A recipient's domain and the server that takes its mail.
type Host = (String, Option<&'static str>);

/// Who has how many of a hundred addresses of a list; the rest have domains of their own.
struct Mix(&'static [(&'static str, Option<&'static str>, i64)]);

const GOOGLE: Option<&str> = Some("gmail-smtp-in.l.google.com");
const CONSUMERS: Mix = Mix(&[
    ("gmail.com", GOOGLE, 36),
    ("hotmail.com", Some("hotmail-com.olc.protection.outlook.com"), 14),
    ("yahoo.com", Some("mta7.am0.yahoodns.net"), 12),
    ("web.example", Some("mx.web.example"), 6),
]);
const MOSTLY_GMAIL: Mix = Mix(&[("gmail.com", GOOGLE, 85), ("yahoo.com", Some("mta7.am0.yahoodns.net"), 5)]);
const COMPANIES: Mix = Mix(&[("gmail.com", GOOGLE, 8)]);

impl Mix {
    fn pick(&self, dice: &mut Dice) -> Host {
        let mut left = dice.below(100);
        for (domain, mx, share) in self.0 {
            left -= share;
            if left < 0 {
                return ((*domain).to_owned(), *mx);
            }
        }
        // A few have many addresses and many have few; some have their mail with Google or with Microsoft.
        let number = dice.below(60) * dice.below(60) / 6;
        let mx = match number % 4 {
            0 => Some("aspmx.l.google.com"),
            1 => Some("customer.mail.protection.outlook.com"),
            _ => None,
        };
        (format!("domain{number}.example"), mx)
    }
}

/// What arrives.
#[derive(Clone)]
enum What {
    /// A hard bounce, of a dead account or of a living one.
    Hard { host: Host, lives: bool },
    /// A sign of life.
    Alive,
}

#[derive(Clone)]
struct Arrival {
    at: i64,
    address: u32,
    what: What,
}

/// A stream in the order in which it is read.
#[derive(Clone, Default)]
struct Stream {
    arrivals: Vec<Arrival>,
    addresses: u32,
}

impl Stream {
    fn hard(&mut self, at: i64, host: Host, lives: bool) -> u32 {
        self.addresses += 1;
        let address = self.addresses;
        self.arrivals.push(Arrival { at, address, what: What::Hard { host, lives } });
        address
    }

    /// `count` dead addresses of a mailing that begins at `at`: three quarters bounce within the first `spread` seconds.
    fn mailing(&mut self, dice: &mut Dice, mix: &Mix, at: i64, count: i64, spread: i64) {
        for _ in 0..count {
            let late = if dice.chance(25) { dice.below(5 * spread) } else { 0 };
            let at = at + dice.below(spread) + late;
            self.hard(at, mix.pick(dice), false);
        }
    }

    /// Day and night, more by day.
    fn trickle(&mut self, dice: &mut Dice, mix: &Mix, from: i64, days: i64, a_day: i64) {
        for day in 0..days {
            for _ in 0..a_day * (75 + dice.below(50)) / 100 {
                let hour = (dice.below(24) + dice.below(24)) / 2;
                self.hard(from + day * DAY + hour * HOUR + dice.below(HOUR), mix.pick(dice), false);
            }
        }
    }

    /// Living accounts of one remote that are called dead, in `hours` from `at`; `weights` says how they are spread.
    fn outage(&mut self, dice: &mut Dice, at: i64, count: i64, weights: &[i64], host: impl Fn(&mut Dice) -> Host) {
        let sum: i64 = weights.iter().sum();
        for (hour, weight) in (0..).zip(weights) {
            for _ in 0..count * weight / sum {
                let at = at + hour * HOUR + dice.below(HOUR);
                let host = host(dice);
                let address = self.hard(at, host, true);
                // One in five of them is heard of within two weeks.
                if dice.chance(20) {
                    let at = at + 6 * HOUR + dice.below(14 * DAY);
                    self.arrivals.push(Arrival { at, address, what: What::Alive });
                }
            }
        }
    }

    /// Dead addresses are mailed once more where they were not taken off: a week later.
    fn again(mut self) -> Self {
        let dead = self.arrivals.iter().filter(|arrival| matches!(arrival.what, What::Hard { lives: false, .. }));
        let again: Vec<_> = dead.map(|arrival| Arrival { at: arrival.at + 7 * DAY, ..arrival.clone() }).collect();
        self.arrivals.extend(again);
        self
    }

    fn in_order(mut self) -> Self {
        self.arrivals.sort_by_key(|arrival| arrival.at);
        self
    }

    fn shuffled(mut self, dice: &mut Dice) -> Self {
        dice.shuffle(&mut self.arrivals);
        self
    }
}

/// A store of the simplest kind with a policy that has one rule: what is called dead is suppressed, unless it waits.
#[derive(Default)]
struct Books {
    hours: HashMap<String, BTreeMap<i64, Hour>>,
    of_all: HashMap<i64, i64>,
    /// Since when.
    listed: HashMap<u32, i64>,
    held: HashMap<u32, (i64, String)>,
    /// Who died when at which remote.
    entries: HashMap<(String, i64), HashSet<u32>>,
    ever_held: HashSet<u32>,
}

impl Books {
    fn read(brake: &Brake, stream: &Stream, batch: usize) -> Self {
        let mut books = Self::default();
        for batch in stream.arrivals.chunks(batch) {
            books.commit(brake, batch);
        }
        books
    }

    fn commit(&mut self, brake: &Brake, batch: &[Arrival]) {
        let mut changed: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        let mut again = Vec::new();
        for Arrival { at, address, what } in batch {
            let What::Hard { host: (domain, mx), .. } = what else {
                self.held.remove(address);
                continue;
            };
            if self.listed.contains_key(address) {
                continue;
            }
            let remote = brake.remote(domain, *mx, None);
            let hour = hour_of(*at);
            if let Some((since, _)) = self.held.get(address) {
                if brake.confirms(*since, *at) {
                    again.push((*address, remote, *at));
                }
                continue;
            }
            self.listed.insert(*address, *at);
            self.entries.entry((remote.clone(), hour)).or_default().insert(*address);
            self.hours.entry(remote.clone()).or_default().entry(hour).or_default().new += 1;
            *self.of_all.entry(hour).or_default() += 1;
            changed.entry(remote).or_default().insert(hour);
        }
        let mut braked = HashSet::new();
        for (remote, changed) in changed {
            let hours = self.hours.get_mut(&remote).expect("it has changed");
            let near = |at: &i64| hours.range(at - HOUR..=at + HOUR).any(|(_, hour)| brake.may_brake(*hour));
            if changed.iter().any(near) {
                for (at, hour) in hours.iter_mut() {
                    hour.of_all = self.of_all[at];
                }
                for hour in brake.braked(hours, *changed.first().expect("one at least")) {
                    for address in self.entries.remove(&(remote.clone(), hour)).into_iter().flatten() {
                        let since = self.listed.remove(&address).expect("it is on the list");
                        self.held.insert(address, (since, remote.clone()));
                        self.ever_held.insert(address);
                        hours.get_mut(&hour).expect("it has entries").held += 1;
                    }
                    braked.insert((remote.clone(), hour));
                }
            }
            for at in changed {
                let hour = hours.get_mut(&at).expect("it has changed");
                hour.before += hour.new;
                hour.new = 0;
            }
        }
        for (address, remote, at) in again {
            if braked.contains(&(remote.clone(), hour_of(at))) {
                continue;
            }
            if let Some((since, remote)) = self.held.remove(&address) {
                let hours = self.hours.get_mut(&remote).expect("counted when it was held");
                let hour = hours.get_mut(&hour_of(since)).expect("counted when it was held");
                hour.held -= 1;
                hour.confirmed += 1;
                self.listed.insert(address, at);
            }
        }
    }
}

/// What became of a stream.
struct Outcome {
    dead: usize,
    dead_held: usize,
    /// Dead ones that still wait at the end.
    dead_waiting: usize,
    /// Dead ones of other domains than those that erred that ever waited.
    others_held: usize,
    living: usize,
    living_suppressed: usize,
}

fn outcome(brake: &Brake, stream: &Stream, batch: usize) -> Outcome {
    let books = Books::read(brake, stream, batch);
    let (mut dead, mut living, mut erring, mut domain_of) =
        (HashSet::new(), HashSet::new(), HashSet::new(), HashMap::new());
    for arrival in &stream.arrivals {
        if let What::Hard { host, lives } = &arrival.what {
            if *lives {
                living.insert(arrival.address);
                erring.insert(&host.0);
            } else {
                dead.insert(arrival.address);
            }
            domain_of.insert(arrival.address, &host.0);
        }
    }
    Outcome {
        dead: dead.len(),
        dead_held: books.ever_held.intersection(&dead).count(),
        dead_waiting: books.held.keys().filter(|address| dead.contains(address)).count(),
        others_held: books.ever_held.intersection(&dead).filter(|address| !erring.contains(domain_of[address])).count(),
        living: living.len(),
        living_suppressed: books.listed.keys().filter(|address| living.contains(address)).count(),
    }
}

fn gmail(_: &mut Dice) -> Host {
    ("gmail.com".to_owned(), GOOGLE)
}

/// What an ordinary sender has: something every day, and a newsletter on Tuesdays at ten.
fn ordinary(dice: &mut Dice, mix: &Mix, days: i64, a_day: i64, an_issue: i64) -> Stream {
    let mut stream = Stream::default();
    stream.trickle(dice, mix, START, days, a_day);
    for week in 0..days / 7 {
        let count = an_issue * (70 + dice.below(60)) / 100;
        stream.mailing(dice, mix, START + (7 * week + 1) * DAY + 10 * HOUR, count, 2_400);
    }
    stream
}

/// Streams in which every bounce is true.
fn ordinary_streams() -> Vec<(&'static str, Stream)> {
    let dice = &mut Dice(1);
    let mut growing = ordinary(dice, &MOSTLY_GMAIL, 56, 20, 3_000);
    for week in [4, 5] {
        growing.mailing(dice, &MOSTLY_GMAIL, START + (7 * week + 1) * DAY + 10 * HOUR, 4_000, 2_400);
    }
    let mut all = vec![
        ("a shop: 400 a day", ordinary(dice, &CONSUMERS, 56, 400, 0).again().in_order()),
        ("a weekly newsletter: 3,000 an issue", ordinary(dice, &CONSUMERS, 56, 20, 3_000).again().in_order()),
        ("the same, 85 of 100 at Gmail", ordinary(dice, &MOSTLY_GMAIL, 56, 20, 3_000).again().in_order()),
        ("the same, where two issues have twice as many", growing.again().in_order()),
        ("a small newsletter: 60 an issue", ordinary(dice, &CONSUMERS, 56, 2, 60).again().in_order()),
    ];
    let mut old = Stream::default();
    old.mailing(dice, &CONSUMERS, START + 9 * HOUR, 12_000, 2 * HOUR);
    all.push(("an old list, mailed for the first time: 12,000", old.clone().again().in_order()));
    let mut parts = Stream::default();
    for Arrival { at, what, .. } in old.arrivals {
        if let What::Hard { host, .. } = what {
            let turn = if host.0 == "gmail.com" { 0 } else { DAY };
            parts.hard(at + turn, host, false);
        }
    }
    all.push(("the same, Gmail first and the others a day later", parts.again().in_order()));
    let mut heavy = Stream::default();
    heavy.mailing(dice, &MOSTLY_GMAIL, START + 9 * HOUR, 12_000, 2 * HOUR);
    all.push(("an old list with 85 of 100 at Gmail", heavy.again().in_order()));
    let mut alerts = Stream::default();
    for _ in 0..250 {
        let (at, count) = (START + dice.below(56 * DAY), 5 + dice.below(300));
        alerts.mailing(dice, &COMPANIES, at, count, 120);
    }
    all.push(("alerts: 250 times up to 300 within minutes", alerts.again().in_order()));
    let mut company = ordinary(dice, &COMPANIES, 56, 100, 300);
    for n in 0..400 {
        company.hard(START + 40 * DAY + n, ("gone.example".to_owned(), Some("mx.gone.example")), false);
    }
    all.push(("a customer closes: 400 at one domain within minutes", company.again().in_order()));
    let mut archive = ordinary(dice, &CONSUMERS, 180, 40, 400);
    archive.mailing(dice, &CONSUMERS, START + 100 * DAY, 12_000, 2 * HOUR);
    all.push(("an archive of half a year, read at once", archive.clone().in_order()));
    all.push(("the same in no order", archive.clone().shuffled(dice)));
    for arrival in &mut archive.arrivals {
        arrival.at = START;
    }
    all.push(("the same without its times of arrival", archive.shuffled(dice)));
    all
}

const EVEN: &[i64] = &[1, 1, 1, 1, 1];
const RISING: &[i64] = &[1, 2, 4, 8, 16, 12, 6, 3, 2, 1];

/// Streams in which a remote calls the living dead.
fn outages() -> Vec<(&'static str, Stream)> {
    let dice = &mut Dice(2);
    let shop = |dice: &mut Dice| ordinary(dice, &CONSUMERS, 56, 200, 2_000);
    let mut all = Vec::new();

    let mut december = shop(dice);
    december.outage(dice, OUTAGE, 30_000, EVEN, gmail);
    let december = december.again();
    all.push(("15 December 2020: 30,000 of Gmail in five hours", december.clone().in_order()));
    all.push(("the same in no order", december.shuffled(dice)));

    let mut rising = shop(dice);
    rising.outage(dice, OUTAGE, 30_000, RISING, gmail);
    let rising = rising.again();
    all.push(("the same, rising and ebbing away within ten hours", rising.in_order()));

    let mut first = Stream::default();
    first.outage(dice, OUTAGE, 30_000, EVEN, gmail);
    first.trickle(dice, &CONSUMERS, OUTAGE - DAY, 10, 1_000);
    let first = first.again();
    all.push(("the same on the second day of a new installation", first.in_order()));

    let mut heavy = ordinary(dice, &MOSTLY_GMAIL, 56, 200, 2_000);
    heavy.outage(dice, OUTAGE, 30_000, EVEN, gmail);
    let heavy = heavy.again();
    all.push(("the same, 85 of 100 at Gmail", heavy.in_order()));

    let mut campaign = shop(dice);
    campaign.mailing(dice, &CONSUMERS, OUTAGE - 20 * DAY, 12_000, 2 * HOUR);
    campaign.outage(dice, OUTAGE, 30_000, EVEN, gmail);
    let campaign = campaign.again();
    all.push(("the same, 20 days after an old list was mailed", campaign.in_order()));

    let mut during = shop(dice);
    during.mailing(dice, &CONSUMERS, OUTAGE - 30 * 60, 6_000, 2 * HOUR);
    during.outage(dice, OUTAGE, 30_000, EVEN, gmail);
    let during = during.again();
    all.push(("the same, while an old list is mailed", during.in_order()));

    let mut small = ordinary(dice, &CONSUMERS, 56, 10, 60);
    small.outage(dice, OUTAGE, 2_000, EVEN, gmail);
    let small = small.again();
    all.push(("a small sender: 2,000 of Gmail in five hours", small.in_order()));

    let mut tiny = ordinary(dice, &CONSUMERS, 56, 3, 10);
    tiny.outage(dice, OUTAGE, 500, EVEN, gmail);
    let tiny = tiny.again();
    all.push(("a tiny one: 500", tiny.in_order()));

    let mut hosted = shop(dice);
    hosted.outage(dice, OUTAGE, 10_000, EVEN, |dice| {
        (format!("company{}.example", dice.below(4_000)), Some("company.mail.protection.outlook.com"))
    });
    let hosted = hosted.again();
    all.push(("10,000 of 4,000 domains with Microsoft in five hours", hosted.in_order()));
    all
}

const BATCH: usize = 500;

#[test]
fn ordinary_streams_are_believed() {
    let mut table = String::new();
    for (name, stream) in ordinary_streams() {
        let found = outcome(&Brake::default(), &stream, BATCH);
        assert_eq!(found.living, 0);
        let Outcome { dead, dead_held, dead_waiting, .. } = found;
        writeln!(table, "| {name} | {} | {} | {} |", grouped(dead), grouped(dead_held), grouped(dead_waiting)).unwrap();
    }
    told("Ordinary stream", &table);
}

#[test]
fn a_server_that_errs_costs_nobody_the_list() {
    let mut table = String::new();
    for (name, stream) in outages() {
        let found = outcome(&Brake::default(), &stream, BATCH);
        let Outcome { dead_held, others_held, living, living_suppressed, .. } = found;
        if !name.starts_with("a tiny") {
            assert!(100 * living_suppressed < living, "{name}: {living_suppressed} of {living}");
        }
        if !name.starts_with("10,000") {
            assert_eq!(others_held, 0, "{name}");
        }
        let [suppressed, held, others] = [living_suppressed, dead_held, others_held].map(grouped);
        writeln!(table, "| {name} | {} | {suppressed} | {held} | {others} |", grouped(living)).unwrap();
    }
    told("Outage", &table);
}

/// docs/policy.md has the table as it comes out now.
fn told(heading: &str, table: &str) {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/policy.md")).expect("it is there");
    assert!(docs.contains(table), "{heading}: not in docs/policy.md:\n{table}");
}

fn grouped(number: usize) -> String {
    bounced::text::grouped(number as u64)
}
