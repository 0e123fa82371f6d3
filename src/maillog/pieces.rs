//! Exim cuts a line that is too long for syslog in pieces, `[1/3] …`, `[2/3] …`: the line as it was. What has come of
//! it waits in the queue under the name of the process, so that it is kept as messages are.

use super::{
    LONGEST_LINE,
    queue::{Queue, Unfinished},
};

/// A part of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'l> {
    /// The host and the process: `mx exim[77]: `.
    who: &'l str,
    number: usize,
    last: usize,
    text: &'l str,
}

/// What a piece makes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Joined {
    /// The whole line, where it was the last one.
    pub line: Option<String>,
    /// How many lines will never be whole, by this one.
    pub lost: u64,
}

/// What stands behind the time, if it is a piece. One that ended with its line has `\` between the numbers.
pub(super) fn piece(rest: &str) -> Option<Piece<'_>> {
    let (who, text) = rest.split_at(rest.find(": [")? + 2);
    who.split_once(' ')?.1.strip_prefix("exim")?;
    let (numbers, text) = text.strip_prefix('[')?.split_once("] ")?;
    let (number, last) = numbers.split_once(['/', '\\'])?;
    let (number, last) = (number.parse().ok()?, last.parse().ok()?);
    (1..=last).contains(&number).then_some(Piece { who, number, last, text })
}

/// Puts a piece behind those of the same process that came before.
pub(super) fn join(queue: &mut Queue, at: i64, piece: &Piece<'_>) -> Joined {
    let Piece { who, number, last, text } = *piece;
    let begun = queue.get(who).and_then(|queued| queued.unfinished.clone());
    queue.end(who);
    let goes_on = |begun: &Unfinished| number > 1 && (begun.next, begun.last) == (number, last);
    let mut lost = u64::from(begun.as_ref().is_some_and(|begun| !goes_on(begun)));
    let mut line = match begun.filter(goes_on) {
        Some(begun) => begun.line,
        None if number == 1 => who.to_owned(),
        None => {
            lost += 1;
            return Joined { line: None, lost };
        }
    };
    if line.len() < LONGEST_LINE {
        line += text;
    }
    if number == last {
        return Joined { line: Some(line), lost };
    }
    queue.change(who, at, |queued| queued.unfinished = Some(Unfinished { next: number + 1, last, line }));
    Joined { line: None, lost }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_several_processes_are_told_apart() {
        let mut queue = Queue::default();
        let mut take = |line: &str| piece(line).map(|piece| join(&mut queue, 0, &piece));
        let waits = || Some(Joined::default());
        let whole = |line: &str| Some(Joined { line: Some(line.to_owned()), lost: 0 });
        let lost = |lost| Some(Joined { line: None, lost });
        for (line, expected) in [
            ("mx exim[1]: 1xW <= a [1/2] b", None),
            ("mx exim[1]: [77] 1xW <= a", None),
            ("mx other[1]: [1/2] a", None),
            ("mx exim[1]: [1/2] one ", waits()),
            ("mx exim[2]: [1\\3] two ", waits()),
            ("mx exim[2]: [2/3] and ", waits()),
            ("mx exim[1]: [2/2] end", whole("mx exim[1]: one end")),
            ("mx exim[2]: [3/3] more", whole("mx exim[2]: two and more")),
            ("mx exim[1]: [2/2] end", lost(1)),
            // A piece is missing, and a beginning has no end.
            ("mx exim[3]: [1/3] x", waits()),
            ("mx exim[3]: [3/3] y", lost(2)),
            ("mx exim[3]: [1/2] x", waits()),
            ("mx exim[3]: [1/2] z", lost(1)),
            ("mx exim[3]: [2/2] z", whole("mx exim[3]: zz")),
            ("mx exim[4]: [0/2] x", None),
            ("mx exim[4]: [3/2] x", None),
        ] {
            assert_eq!(take(line), expected, "{line}");
        }
        assert!(queue.take_changes().is_empty(), "nothing waits");
    }

    #[test]
    fn a_line_that_never_ends_stays_within_bounds() {
        let mut queue = Queue::default();
        for number in 1..1000 {
            let text = format!("mx exim[1]: [{number}/9999] {}", "x".repeat(1000));
            assert_eq!(join(&mut queue, 0, &piece(&text).unwrap()), Joined::default());
        }
        let line = &queue.get("mx exim[1]: ").unwrap().unfinished.as_ref().unwrap().line;
        assert!((LONGEST_LINE..LONGEST_LINE + 1000).contains(&line.len()));
    }
}
