//! What reading and judging a mail costs beside mail-parser's bare parse of the same mails, and whether the cost of
//! hostile mails grows in step with their size. Ends with what a mail takes, and the ratio of the two.

mod support;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bounced::app::Judge;
use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use support::{judge_all, mails};

fn main() {
    divan::main();
    // `cargo test --benches` and `--list` measure nothing.
    if std::env::args().any(|argument| argument == "--bench") {
        compare();
    }
}

/// The fastest of so many passes counts; the two take turns, so that what disturbs one disturbs the other.
const ROUNDS: usize = 25;

/// What a mail takes when it is judged and when mail-parser alone parses it.
fn compare() {
    let (mails, judge) = (mails(), Judge::embedded());
    let ours = || judge_all(&judge, &mails);
    let theirs = || parse_all(&mails);
    let fastest = |timed: fn((Duration, Duration)) -> Duration, rounds: &[(Duration, Duration)]| {
        rounds.iter().map(|round| timed(*round)).min().unwrap_or_default().as_secs_f64()
    };
    let timed = |pass: &dyn Fn()| {
        let start = Instant::now();
        pass();
        start.elapsed()
    };
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (timed(&ours), timed(&theirs))).collect();
    let (judging, parsing) = (fastest(|round| round.0, &rounds), fastest(|round| round.1, &rounds));
    for (name, seconds, pass) in [("judge", judging, &ours as &dyn Fn()), ("mail-parser alone", parsing, &theirs)] {
        let allocations = allocation_counter::measure(pass).count_total / mails.len() as u64;
        let micros = seconds * 1e6 / mails.len() as f64;
        println!("{name}: {micros:.2} µs and {allocations} allocations a mail, of {} mails", mails.len());
    }
    println!("judge / mail-parser ratio: {:.2}", judging / parsing);
}

fn parse_all(mails: &[Vec<u8>]) {
    for mail in mails {
        black_box(mail_parser::MessageParser::default().parse(black_box(mail)));
    }
}

fn octets(mails: &[Vec<u8>]) -> BytesCount {
    BytesCount::new(mails.iter().map(Vec::len).sum::<usize>())
}

#[divan::bench]
fn mail_parser_alone(bencher: Bencher) {
    let mails = mails();
    bencher.counter(ItemsCount::new(mails.len())).counter(octets(&mails)).bench(|| parse_all(&mails));
}

#[divan::bench]
fn parse_and_classify(bencher: Bencher) {
    let (mails, judge) = (mails(), Judge::embedded());
    bencher.counter(ItemsCount::new(mails.len())).counter(octets(&mails)).bench(|| judge_all(&judge, &mails));
}

#[divan::bench]
fn one_response(bencher: Bencher) {
    let judge = Judge::embedded();
    let response = "550-5.1.1 The email account that you tried to reach does not exist. Please try double-checking";
    bencher.counter(ItemsCount::new(1usize)).bench(|| judge.judge_response(black_box(response)));
}

/// Mails that are made to hurt, by size in KiB: the time must double with the size.
const SIZES: [usize; 3] = [512, 1024, 2048];

fn hostile(bencher: Bencher, kib: usize, unit: &str, head: &str) {
    let judge = Judge::embedded();
    let mail = format!("{head}{}", unit.repeat(kib * 1024 / unit.len()));
    bencher.counter(BytesCount::new(mail.len())).bench(|| judge.judge(black_box(mail.as_bytes())));
}

const TEXT_BOUNCE: &str = "From: MAILER-DAEMON@mx.example.org\nSubject: failure notice\n\n";
const DSN: &str = "From: MAILER-DAEMON@mx.example.org\nSubject: failure notice\nContent-Type: multipart/report; \
                   report-type=delivery-status; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n";

#[divan::bench(args = SIZES)]
fn hostile_nesting(bencher: Bencher, kib: usize) {
    hostile(bencher, kib, "Content-Type: message/rfc822\n\n", "");
}

#[divan::bench(args = SIZES)]
fn hostile_headers(bencher: Bencher, kib: usize) {
    hostile(bencher, kib, "X-Failed-Recipients: a@example.org\n", "From: MAILER-DAEMON@mx.example.org\n");
}

#[divan::bench(args = SIZES)]
fn hostile_line(bencher: Bencher, kib: usize) {
    hostile(bencher, kib, "550 5.1.1 <a@example.org> ", TEXT_BOUNCE);
}

#[divan::bench(args = SIZES)]
fn hostile_addresses(bencher: Bencher, kib: usize) {
    hostile(bencher, kib, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@@@@@@@@@@@", TEXT_BOUNCE);
}

#[divan::bench(args = SIZES)]
fn hostile_recipients(bencher: Bencher, kib: usize) {
    hostile(bencher, kib, "Final-Recipient: rfc822;a@example.org\nAction: failed\nStatus: 5.1.1\n\n", DSN);
}

#[divan::bench(args = SIZES)]
fn hostile_paragraphs(bencher: Bencher, kib: usize) {
    hostile(bencher, kib, "From: a\nTo: b\nSubject: c\n\n<a@example.org>:\nno\n\n", TEXT_BOUNCE);
}
