//! The rows of config/kinds.toml prove themselves: each is found on the lines that it accepts and needed there, is not
//! found on those that it rejects, and its weight is neither more nor less than what its neighbours ask for.

use std::sync::Arc;

use super::{
    Best, Tally,
    signs::{Area, For, Sender, Signs},
    tally,
};
use crate::{
    parse::{
        lines::{Numbering, Sent},
        mime,
        original::Returned,
        words::Words,
    },
    tables::TableError,
};

/// A mail of single lines: `text: …`, else header fields.
fn mail_of(lines: &[&str]) -> Vec<u8> {
    let (texts, fields): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| line.starts_with("text: "));
    let mut mail = fields.join("\n");
    // mail-parser wants a header.
    mail.push_str(if fields.is_empty() { "X-Example: yes\n\n" } else { "\n\n" });
    texts.iter().for_each(|text| mail.push_str(&text["text: ".len()..]));
    mail.push('\n');
    mail.into_bytes()
}

/// What the table finds in such a mail.
fn with_tally<T>(signs: &Signs, words: &Words, lines: &[&str], then: impl FnOnce(&Tally<'_>) -> T) -> T {
    let raw = mail_of(lines);
    let sent = Sent { bytes: &raw, numbering: &Numbering::WHOLE };
    let mail = mime::read(sent, raw.len(), words).expect("an example has a header");
    then(&tally(&mail, &Returned::of(&mail, &[]), signs).1)
}

/// Whether a row is the heaviest of its kind that stands in the line.
fn is_found(signs: &Signs, words: &Words, row: usize, line: &str) -> bool {
    with_tally(signs, words, &[line], |tally| tally.best.iter().any(|best| best.row == Some(row)))
}

/// What the table finds in a line: of each area and each kind the heaviest sign, what its format is called, and who
/// sends such a mail.
pub(super) fn weighed(signs: &Signs, words: &Words, line: &str) -> (Vec<Weight>, Sender) {
    with_tally(signs, words, &[line], |tally| {
        let weight = |best: &Best<'_>| {
            let format = best.row.and_then(|row| signs.format(row));
            Weight { area: best.area, speaks_for: best.speaks_for, weight: best.weight, format }
        };
        (tally.best.iter().map(weight).collect(), tally.sender)
    })
}

/// The heaviest sign of an area for a kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Weight {
    area: Area,
    speaks_for: For,
    weight: u32,
    format: Option<Arc<str>>,
}

/// Holds a row against its `accepts` and `rejects`.
pub(super) fn by_examples(signs: &Signs, words: &Words, row: usize) -> Result<(), TableError> {
    let placed = &signs.rows[row];
    let id = placed.row.id.get_ref();
    for example in &placed.row.accepts {
        if !is_found(signs, words, row, example.get_ref()) {
            let problem = format!("`{id}` accepts {:?}, but is not the heaviest found in it", example.get_ref());
            return Err(placed.file.refuse(&example.span(), &problem));
        }
    }
    for example in &placed.row.rejects {
        if is_found(signs, words, row, example.get_ref()) {
            let problem = format!("`{id}` rejects {:?}, but is found in it", example.get_ref());
            return Err(placed.file.refuse(&example.span(), &problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use toml::Spanned;

    use super::{
        super::signs::{At, RowArea, SignRow},
        *,
    };
    use crate::{report::Kind, text::fold_words};

    /// The kind of such a mail.
    fn kind(signs: &Signs, words: &Words, lines: &[&str]) -> Option<Kind> {
        with_tally(signs, words, lines, |tally| tally.kind(signs.scale, || false))
    }

    fn table() -> (Signs, Words) {
        let words = Words::embedded();
        (Signs::of_files(&Signs::files(&[]).unwrap(), &words).unwrap(), words)
    }

    #[test]
    fn every_row_is_found_by_its_examples_and_needed_for_them() {
        let (mut signs, words) = table();
        // One more or one less: change the number, and say in the changelog what is told apart.
        assert_eq!(signs.rows.len(), 125);
        let mut wrong = Vec::new();
        for row in 0..signs.rows.len() {
            wrong.extend(by_examples(&signs, &words, row).err().map(|error| error.to_string()));
            let weight = std::mem::replace(&mut signs.signs[row].weight, 0);
            for example in &signs.rows[row].row.accepts {
                let speaks_for = signs.signs[row].speaks_for;
                let heaviest = with_tally(&signs, &words, &[example.get_ref()], |t| t.sum(|f| f == speaks_for));
                let id = signs.rows[row].row.id.get_ref();
                if heaviest >= weight {
                    wrong.push(format!("`{id}` is not needed for {:?}", example.get_ref()));
                }
            }
            signs.signs[row].weight = weight;
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// The first examples of a row and of others.
    fn beside<'s>(signs: &'s Signs, row: usize, others: &[Spanned<String>]) -> Vec<&'s str> {
        let first = |row: usize| signs.rows[row].row.accepts[0].get_ref().as_str();
        let numbered = |id: &Spanned<String>| {
            let position = signs.rows.iter().position(|placed| placed.row.id.get_ref() == id.get_ref());
            position.unwrap_or_else(|| panic!("there is no row `{}`", id.get_ref()))
        };
        [row].into_iter().chain(others.iter().map(numbered)).map(first).collect()
    }

    const fn wanted(speaks_for: For) -> Kind {
        match speaks_for {
            For::Report | For::Bounce => Kind::Bounce,
            For::Delayed => Kind::Delayed,
            For::Delivered => Kind::Delivered,
            For::AutoReply => Kind::AutoReply,
            For::Complaint => Kind::Complaint,
            For::NotBounce => Kind::NotBounce,
        }
    }

    /// What a row says about its neighbours, with the weight that it has now.
    fn holds(signs: &Signs, words: &Words, row: usize) -> (bool, bool) {
        let of = &signs.rows[row].row;
        let is_of_its_kind =
            |others: &[Spanned<String>]| kind(signs, words, &beside(signs, row, others)) == Some(wanted(of.speaks_for));
        let decides = of.decides_beside.as_ref().is_none_or(|others| is_of_its_kind(others));
        let yields = of.yields_to.as_ref().is_none_or(|others| !is_of_its_kind(others));
        (decides, yields)
    }

    #[test]
    fn every_weight_is_what_its_neighbours_ask_for() {
        let (mut signs, words) = table();
        let mut wrong = Vec::new();
        let mut expect = |holds: bool, otherwise: String| wrong.extend((!holds).then_some(otherwise));
        for row in 0..signs.rows.len() {
            let id = signs.rows[row].row.id.get_ref().clone();
            let (decides, yields) = holds(&signs, &words, row);
            expect(decides, format!("`{id}` does not decide"));
            expect(yields, format!("`{id}` does not yield"));
            signs.signs[row].weight -= 1;
            let lighter = holds(&signs, &words, row);
            signs.signs[row].weight += 2;
            let heavier = holds(&signs, &words, row);
            signs.signs[row].weight -= 1;
            // The heaviest row: no other rows weigh one less together.
            expect(lighter.0 == (id == "field.tracker"), format!("nobody would notice `{id}` lighter"));
            expect(!heavier.1, format!("nobody would notice `{id}` heavier"));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn words_of_a_subject_must_stand_where_their_row_says() {
        let (mut signs, words) = table();
        let mut wrong = Vec::new();
        for row in (0..signs.rows.len()).filter(|row| signs.rows[*row].row.area == RowArea::Subject) {
            let said = signs.signs[row].at;
            for other in [At::Anywhere, At::Start, At::Whole].into_iter().filter(|at| *at != said) {
                signs.signs[row].at = other;
                let id = signs.rows[row].row.id.get_ref();
                if by_examples(&signs, &words, row).is_ok() {
                    wrong.push(format!("nobody would notice `{id}` {other:?}"));
                }
            }
            signs.signs[row].at = said;
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn no_word_is_covered_by_another() {
        let (signs, _) = table();
        let rows = signs.rows.iter().map(|placed| &placed.row).filter(|row| row.area != RowArea::Field);
        let words: Vec<_> = rows.flat_map(|row| row.says.iter().map(move |word| (row, fold_words(word)))).collect();
        let mut wrong = Vec::new();
        for (n, (row, word)) in words.iter().enumerate() {
            let covers = |(m, (other, part)): &(usize, &(&SignRow, String))| {
                let same = other.area == row.area && other.speaks_for == row.speaks_for && other.weight >= row.weight;
                // Of two that are the same the first one stays.
                let comes_first = word != part || other.weight > row.weight || *m < n;
                *m != n
                    && same
                    && comes_first
                    && match other.at {
                        At::Anywhere => row.at == At::Anywhere && word.contains(part.as_str()),
                        At::Start => row.at == At::Start && word.starts_with(part.as_str()),
                        At::Whole => row.at == At::Whole && word == part,
                    }
            };
            if let Some((_, (other, part))) = words.iter().enumerate().find(covers) {
                let (id, by) = (row.id.get_ref(), other.id.get_ref());
                wrong.push(format!("`{id}`: {word:?} can never matter beside {part:?} of `{by}`"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// What the ids of rows tell: the longest beginning counts.
    const MEANT: &[(&str, For)] = &[
        ("from.", For::Report),
        ("from.monitor", For::NotBounce),
        ("field.delivery_status", For::Report),
        ("field.null_sender.report", For::Report),
        ("text.report.", For::Report),
        ("field.journal", For::Report),
        ("field.failed_recipients", For::Bounce),
        ("field.auto_generated.failure", For::Bounce),
        ("subject.failed.", For::Bounce),
        ("subject.mentions_failure", For::Bounce),
        ("text.failed.", For::Bounce),
        ("field.auto_generated.warning", For::Delayed),
        ("subject.delayed", For::Delayed),
        ("text.delayed", For::Delayed),
        ("field.auto_generated.receipt", For::Delivered),
        ("subject.delivered", For::Delivered),
        ("text.delivered", For::Delivered),
        ("field.null_sender.auto_reply", For::AutoReply),
        ("field.auto_generated", For::AutoReply),
        ("field.auto_replied", For::AutoReply),
        ("field.precedence.auto_reply", For::AutoReply),
        ("field.responder", For::AutoReply),
        ("field.rules_agent", For::AutoReply),
        ("subject.auto_reply.", For::AutoReply),
        ("subject.absent", For::AutoReply),
        ("subject.mentions_auto_reply", For::AutoReply),
        ("subject.mentions_change", For::AutoReply),
        ("text.auto_reply", For::AutoReply),
        ("text.mentions_absence", For::AutoReply),
        ("field.challenge", For::AutoReply),
        ("subject.challenge", For::AutoReply),
        ("text.challenge", For::AutoReply),
        ("field.complaint", For::Complaint),
        ("from.complaint", For::Complaint),
        ("subject.complaint", For::Complaint),
        ("text.complaint", For::Complaint),
        ("text.mentions_complaint", For::Complaint),
        ("field.", For::NotBounce),
        ("subject.", For::NotBounce),
        ("text.", For::NotBounce),
    ];

    #[test]
    fn every_row_speaks_for_what_its_id_tells() {
        let (signs, _) = table();
        for placed in &signs.rows {
            let id = placed.row.id.get_ref();
            let longest = MEANT.iter().filter(|(start, _)| id.starts_with(start)).max_by_key(|(start, _)| start.len());
            let speaks_for = placed.row.speaks_for;
            assert_eq!(longest.map(|(_, meant)| *meant), Some(speaks_for), "`{id}` speaks for {speaks_for:?}");
        }
    }

    #[test]
    fn the_scale_is_what_it_must_be() {
        let (mut signs, words) = table();
        let subject = "Subject: Undelivered mail";
        let daemon = "From: MAILER-DAEMON@mx.example.org";
        let kind_of = |signs: &Signs, lines: &[&str]| kind(signs, &words, lines);
        assert_eq!(kind_of(&signs, &[subject]), None);
        assert_eq!(kind_of(&signs, &[subject, "From: noreply@example.org"]), Some(Kind::Bounce));
        // A reply prefix: the subject is somebody else's, and more is needed.
        let answer = "Subject: Re: Undelivered mail";
        assert_eq!(kind_of(&signs, &[answer, daemon]), None);
        assert_eq!(kind_of(&signs, &[answer, daemon, "Return-Path: <>"]), Some(Kind::Bounce));
        // A delay's own sign outweighs the words of a failure that stand beside it.
        let delay = ["Subject: Zustellung verzögert", "text: ----- Transcript of session follows -----"];
        assert_eq!(kind_of(&signs, &delay), Some(Kind::Delayed));
        let three = ["X-Failed-Recipients: bob@example.com", "text: Ihr Brief ist noch nicht zugestellt.", subject];
        assert_eq!(kind_of(&signs, &three), Some(Kind::Bounce));
        signs.scale.rather_than_failure = 3;
        assert_eq!(kind_of(&signs, &three), Some(Kind::Delayed));
    }

    #[test]
    fn a_report_wins_a_tie_and_a_complaint_wins_over_the_rest() {
        let (signs, words) = table();
        let kind_of = |lines: &[&str]| kind(&signs, &words, lines);
        assert_eq!(
            kind_of(&["From: MAILER-DAEMON@mx.example.org", "Auto-Submitted: auto-replied"]),
            Some(Kind::Bounce)
        );
        assert_eq!(kind_of(&["Subject: Spam complaint", "User-Agent: Mozilla Thunderbird"]), Some(Kind::Complaint));
        assert_eq!(kind_of(&["Subject: Read: invoice", "Auto-Submitted: auto-replied"]), Some(Kind::AutoReply));
    }

    #[test]
    fn words_are_known_without_their_accents_and_must_stand_where_the_row_says() {
        let (signs, words) = table();
        for subject in ["Rückläufer", "Ruecklaeufer", "Rucklaufer", "Não entregue", "Nao entregue", "Nicht zustellbar"]
        {
            let found = with_tally(&signs, &words, &[&format!("Subject: {subject}")], |t| t.sum(|f| f == For::Bounce));
            assert_eq!(found, 2, "{subject}");
        }
        let only =
            |at| signs.rows.iter().filter(move |placed| placed.row.at == at && placed.row.area == RowArea::Subject);
        let unproved = only(At::Start).chain(only(At::Whole)).find(|placed| placed.row.rejects.is_empty());
        assert!(unproved.is_none(), "{:?} has no example of its words elsewhere", unproved.map(|p| &p.row.id));
    }

    #[test]
    fn rows_of_ones_own_stand_first_and_must_prove_themselves() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("mine.toml");
        let words = Words::embedded();
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Signs::of_files(&Signs::files(std::slice::from_ref(&path)).unwrap(), &words).map_err(|e| e.to_string())
        };
        let own = "[[sign]]\nid = 'mine'\nin = 'Subject'\nfor = 'not_bounce'\nweight = 12\nat = 'start'\nsays = ['undelivered parcel']\n";
        let parcel = "Subject: Undelivered parcel";
        let signs = load(&format!("{own}accepts = ['{parcel}']\nrejects = ['Subject: Parcel']")).unwrap();
        assert_eq!(kind(&signs, &words, &[parcel, "From: MAILER-DAEMON@mx.example.org"]), Some(Kind::NotBounce));
        let replaced = load(&format!("{own}replaces = 'subject.absent'\naccepts = ['{parcel}']")).unwrap();
        assert_eq!(replaced.rows.len(), table().0.rows.len());
        for (text, problem) in [
            (format!("{own}accepts = ['Subject: Parcel']"), "mine.toml:8: `mine` accepts \"Subject: Parcel\", but"),
            (format!("{own}accepts = ['{parcel}']\nrejects = ['{parcel}']"), "mine.toml:9: `mine` rejects"),
            (format!("{own}accepts = []"), "mine.toml:2: `mine` has no example in `accepts`"),
            (format!("{own}accepts = ['{parcel}']\nfields = ['X-A']"), "mine.toml:2: `mine` needs `fields`"),
            ("drop = ['subject.absent', 'no']".into(), "mine.toml:1: there is no row `no` to drop"),
            (own.replace("parcel", "Parcel") + "accepts = ['x']", "mine.toml:2: `mine` can never find"),
        ] {
            let error = load(&text).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn places_are_apart() {
        let (signs, words) = table();
        let line = "Return-Path: <>";
        let places = with_tally(&signs, &words, &[line], |t| t.best.iter().map(|b| b.area).collect::<Vec<_>>());
        assert_eq!(places, [Area::ReturnPath, Area::ReturnPath]);
    }
}
