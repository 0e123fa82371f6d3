//! `[brake]` of config/policy.toml, and of files of one's own over it -> the brake. Knows no address.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use toml::Spanned;

use super::{Brake, DAY};
use crate::{
    policy::{
        rules::{Domain, File, Number, number},
        span::Span,
    },
    tables::{TableError, TableFile},
};

/// What stands in one file. What it leaves out is as in the files below it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct Keys {
    least: Option<Spanned<Number>>,
    factor: Option<Spanned<Number>>,
    share: Option<Spanned<Number>>,
    memory: Option<Spanned<Span>>,
    again: Option<Span>,
    #[serde(default)]
    families: BTreeMap<String, Spanned<Vec<String>>>,
}

/// The brake of these files, the strongest first.
///
/// # Errors
/// A number can't be; the text names file and line.
pub(in crate::policy) fn of_files(files: &[Arc<TableFile>]) -> Result<Brake, TableError> {
    let mut brake = Brake { least: 0, factor: 0, share: 0, memory: 0, again: 0, families: BTreeMap::new() };
    for file in files.iter().rev() {
        let keys = file.parse::<File>()?.brake;
        brake.least = number(file, "least", keys.least.as_ref(), brake.least, u32::MAX)?;
        brake.factor = number(file, "factor", keys.factor.as_ref(), brake.factor, u32::MAX)?;
        brake.share = number(file, "share", keys.share.as_ref(), brake.share, 100)?;
        if let Some(memory) = &keys.memory {
            brake.memory = memory.get_ref().seconds();
            if brake.memory <= DAY {
                return Err(file.refuse(
                    &memory.span(),
                    "memory is a day or less, expected more, as \"60d\": the last day counts apart",
                ));
            }
        }
        brake.again = keys.again.map_or(brake.again, Span::seconds);
        for (family, domains) in &keys.families {
            brake.families.retain(|_, of| of != family);
            for domain in domains.get_ref() {
                let domain: Domain = domain.parse().map_err(|error: String| file.refuse(&domains.span(), &error))?;
                brake.families.insert(domain.0, family.clone());
            }
        }
    }
    Ok(brake)
}

#[cfg(test)]
mod tests {
    use crate::{policy::rules, tables::TableFile};

    fn brake(own: &str) -> Result<super::Brake, String> {
        let mut files = rules::files(&[]).expect("no file of one's own");
        files.insert(0, TableFile::of_test("own.toml", own));
        super::of_files(&files).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_of_ones_own_says_what_is_otherwise() {
        let embedded = brake("").unwrap();
        assert_eq!((embedded.least, embedded.factor, embedded.share), (200, 3, 66));
        assert_eq!((embedded.memory, embedded.again), (60 * 86_400, 72 * 3_600));
        let own = brake("[brake]\nleast = 50\nagain = \"24h\"\nfamilies.\"gmail.com\" = [\"Bücher.example\"]").unwrap();
        assert_eq!((own.least, own.factor, own.again), (50, 3, 86_400));
        assert_eq!(own.remote("xn--bcher-kva.example", None, None), "gmail.com");
        assert_eq!(own.remote("googlemail.com", None, None), "googlemail.com", "the family is another one now");
        assert_eq!(own.remote("hotmail.fr", None, None), "hotmail.com");
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line() {
        for (own, says) in [
            ("[brake]\nleast = 0", "own.toml:2: least is 0, expected 1 or more"),
            ("[brake]\nfactor = 0", "factor is 0, expected 1 or more"),
            ("[brake]\nfactor = '3'", "own.toml:2: factor: found \"3\", expected a whole number"),
            ("[brake]\nagain = '0h'", "own.toml:2: again: `0h` is no time at all; expected days, hours or minutes"),
            ("[brake]\nshare = 101", "share is 101, expected 1 to 100"),
            ("[brake]\nmemory = \"24h\"", "memory is a day or less"),
            ("[brake]\nagain = \"soon\"", "`soon` is no length of time"),
            ("[brake]\nlots = 1", "unknown key `lots`"),
            ("[brake]\nfamilies.big = [\"@\"]", "`@` is no domain"),
        ] {
            let error = brake(own).expect_err(own);
            assert!(error.contains(says), "{error}");
        }
    }
}
