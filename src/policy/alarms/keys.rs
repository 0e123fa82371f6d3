//! `[alarms]` of config/policy.toml, and of files of one's own over it -> when there is an alarm.

use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::Alarms;
use crate::{
    policy::{
        rules::{File, Number, number},
        span::Span,
    },
    tables::{TableError, TableFile},
};

/// What stands in one file. What it leaves out is as in the files below it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct Keys {
    rate_least: Option<Spanned<Number>>,
    own_fault_least: Option<Spanned<Number>>,
    own_fault_new: Option<Span>,
    own_fault_over: Option<Span>,
    hard_least: Option<Spanned<Number>>,
    hard_warning: Option<Spanned<Number>>,
    hard_stop: Option<Spanned<Number>>,
    hard_over: Option<Spanned<Number>>,
    silent_factor: Option<Spanned<Number>>,
    silent_least: Option<Span>,
    silent_known: Option<Spanned<Number>>,
    silent_memory: Option<Span>,
}

/// The numbers of these files, the strongest first.
///
/// # Errors
/// A number can't be; the text names file and line.
pub(in crate::policy) fn of_files(files: &[Arc<TableFile>]) -> Result<Alarms, TableError> {
    let mut alarms = Alarms {
        rate_least: 0,
        own_fault_least: 0,
        own_fault_new: 0,
        own_fault_over: 0,
        hard_least: 0,
        hard_warning: 0,
        hard_stop: 0,
        hard_over: 0,
        silent_factor: 0,
        silent_least: 0,
        silent_known: 0,
        silent_memory: 0,
    };
    for file in files.iter().rev() {
        let keys = file.parse::<File>()?.alarms;
        for (key, value, of, most) in [
            ("rate_least", &keys.rate_least, &mut alarms.rate_least, u32::MAX),
            ("own_fault_least", &keys.own_fault_least, &mut alarms.own_fault_least, u32::MAX),
            ("hard_least", &keys.hard_least, &mut alarms.hard_least, u32::MAX),
            ("hard_warning", &keys.hard_warning, &mut alarms.hard_warning, 1_000),
            ("hard_stop", &keys.hard_stop, &mut alarms.hard_stop, 1_000),
            ("hard_over", &keys.hard_over, &mut alarms.hard_over, 1_000),
            ("silent_factor", &keys.silent_factor, &mut alarms.silent_factor, u32::MAX),
            ("silent_known", &keys.silent_known, &mut alarms.silent_known, u32::MAX),
        ] {
            *of = number(file, key, value.as_ref(), *of, most)?;
        }
        for (value, of) in [
            (keys.own_fault_new, &mut alarms.own_fault_new),
            (keys.own_fault_over, &mut alarms.own_fault_over),
            (keys.silent_least, &mut alarms.silent_least),
            (keys.silent_memory, &mut alarms.silent_memory),
        ] {
            *of = value.map_or(*of, Span::seconds);
        }
        // What begins must not be over at once, or it would begin and end by turns.
        let Alarms { hard_over, hard_warning, hard_stop, .. } = alarms;
        let named = [&keys.hard_over, &keys.hard_warning, &keys.hard_stop].into_iter().flatten().next();
        if let Some(named) = named
            && !(hard_over <= hard_warning && hard_warning <= hard_stop)
        {
            let problem = format!(
                "hard_over is {hard_over}, hard_warning {hard_warning} and hard_stop {hard_stop}, expected none to be less \
                 than the one before it"
            );
            return Err(file.refuse(&named.span(), &problem));
        }
    }
    Ok(alarms)
}

#[cfg(test)]
mod tests {
    use crate::{policy::rules, tables::TableFile};

    fn alarms(own: &str) -> Result<super::Alarms, String> {
        let mut files = rules::files(&[]).expect("no file of one's own");
        files.insert(0, TableFile::of_test("own.toml", own));
        super::of_files(&files).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_of_ones_own_says_what_is_otherwise() {
        let embedded = alarms("").unwrap();
        assert_eq!((embedded.rate_least, embedded.hard_least, embedded.own_fault_least), (50, 200, 5));
        assert_eq!((embedded.hard_over, embedded.hard_warning, embedded.hard_stop), (15, 20, 50));
        assert_eq!((embedded.own_fault_new, embedded.own_fault_over), (30 * 86_400, 3 * 86_400));
        assert_eq!((embedded.silent_factor, embedded.silent_known), (3, 20));
        assert_eq!((embedded.silent_least, embedded.silent_memory), (86_400, 30 * 86_400));
        let own = alarms("[alarms]\nhard_least = 1000\nown_fault_over = \"7d\"").unwrap();
        assert_eq!((own.hard_least, own.own_fault_over, own.hard_stop), (1_000, 7 * 86_400, 50));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line() {
        for (own, says) in [
            ("[alarms]\nrate_least = 0", "own.toml:2: rate_least is 0, expected 1 or more"),
            ("[alarms]\nhard_stop = 1001", "own.toml:2: hard_stop is 1001, expected 1 to 1000"),
            ("[alarms]\nhard_over = 30", "own.toml:2: hard_over is 30, hard_warning 20 and hard_stop 50"),
            ("[alarms]\nhard_stop = 19", "own.toml:2: hard_over is 15, hard_warning 20 and hard_stop 19"),
            ("[alarms]\nsilent_least = 'soon'", "`soon` is no length of time"),
            ("[alarms]\nlots = 1", "unknown key `lots`"),
        ] {
            let error = alarms(own).expect_err(own);
            assert!(error.contains(says), "{error}");
        }
    }
}
