//! What a server wants a person to know (RFC 9051 §7.1, ALERT): each text is a line in the log once, however often it says
//! it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::warn;

/// A server that has something new to say each time is not listened to without end.
const MOST: usize = 32;

/// The texts that were told of one mailbox. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Alerts {
    mailbox: Arc<str>,
    told: Arc<Mutex<BTreeSet<String>>>,
}

impl Alerts {
    pub(super) fn new(mailbox: &str) -> Self {
        Self { mailbox: mailbox.into(), told: Arc::default() }
    }

    /// Tells it, unless it was told before; says whether it was news.
    pub(super) fn tell(&self, text: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = told.len() < MOST && told.insert(text.to_owned());
        if is_news {
            warn!(mailbox = &*self.mailbox, "the server wants you to know: {text}");
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_told_once_and_not_without_end() {
        let alerts = Alerts::new("box");
        assert!(alerts.tell("the disk is nearly full") && !alerts.clone().tell("the disk is nearly full"));
        assert_eq!((0..100).filter(|n| alerts.tell(&n.to_string())).count(), MOST - 1);
    }
}
