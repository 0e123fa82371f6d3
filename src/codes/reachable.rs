//! Which phrases of text variants can answer at all: of the variants of one code the first that fits is taken, so a
//! phrase that holds an earlier one is idle. Knows nothing of what variants say.

use std::{ops::Range, sync::Arc};

use toml::Spanned;

use super::ReplyCode;
use crate::{
    tables::{TableError, TableFile},
    text::fold,
};

/// Shorter phrases would fit almost any text.
const SHORTEST_PHRASE: usize = 4;

/// The phrases of the variants so far, in the order in which they are asked.
#[derive(Default)]
pub(super) struct Phrases(Vec<PlacedPhrase>);

/// A phrase of a variant.
#[derive(Clone)]
struct PlacedPhrase {
    file: Arc<TableFile>,
    /// Where its variant is named: tells it from others.
    variant: Range<usize>,
    code: ReplyCode,
    phrase: Spanned<String>,
    folded: String,
}

impl Phrases {
    /// Adds those of one more variant.
    ///
    /// # Errors
    /// One of them would fit anything, or can never decide.
    pub(super) fn add(
        &mut self,
        file: &Arc<TableFile>,
        variant: &Range<usize>,
        code: ReplyCode,
        says: &[Spanned<String>],
    ) -> Result<(), TableError> {
        if says.is_empty() {
            let problem = "a variant without phrases can never answer; expected says = [\"…\"]";
            return Err(file.refuse(variant, problem));
        }
        for phrase in says {
            let folded = fold(phrase.get_ref()).into_string();
            if folded.len() < SHORTEST_PHRASE {
                let problem =
                    format!("the phrase {folded:?} would fit anything; expected {SHORTEST_PHRASE} letters or more");
                return Err(file.refuse(&phrase.span(), &problem));
            }
            let (file, variant, phrase) = (Arc::clone(file), variant.clone(), phrase.clone());
            let here = PlacedPhrase { file, variant, code, phrase, folded };
            self.0.iter().filter(|other| other.code == code).try_for_each(|other| here.both_decide(other))?;
            self.0.push(here);
        }
        Ok(())
    }
}

impl PlacedPhrase {
    /// Refuses one of two phrases of one code, the `other` of which stands earlier, where it can never decide.
    fn both_decide(&self, other: &Self) -> Result<(), TableError> {
        let same_variant = Arc::ptr_eq(&other.file, &self.file) && other.variant == self.variant;
        // Within a variant the order of the phrases does not matter: the longer one is idle either way.
        let (idle, first) = if self.folded.contains(&other.folded) {
            (self, other)
        } else if same_variant && other.folded.contains(&self.folded) {
            (other, self)
        } else {
            return Ok(());
        };
        let problem = format!(
            "the phrase {:?} can never decide: {:?} in line {} answers first",
            idle.phrase.get_ref(),
            first.phrase.get_ref(),
            first.file.line(first.phrase.span().start)
        );
        Err(idle.file.refuse(&idle.phrase.span(), &problem))
    }
}
