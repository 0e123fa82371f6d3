//! What scripts/instructions counts: nothing but so many passes over the mails, `passes N`. An example to cargo, which
//! builds the program itself beside each bench, and that takes minutes.

mod support;

use bounced::app::Judge;
use support::{judge_all, mails};

fn main() {
    let passes = std::env::args().nth(1).and_then(|passes| passes.parse().ok()).expect("the number of passes");
    let (mails, judge) = (mails(), Judge::embedded());
    (0..passes).for_each(|_: u32| judge_all(&judge, &mails));
    println!("{}", mails.len());
}
