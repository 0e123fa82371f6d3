//! A mailbox whose tokens need somebody's consent -> the consent, ready to be asked for.

use crate::{config::Mailbox, source::login::Consent};

/// Prepares to ask for the consent that the mailbox needs.
///
/// # Errors
/// One line with what to do, where it needs nobody's consent.
pub fn consent(Mailbox { name, settings, .. }: &Mailbox<'_>) -> Result<Consent, String> {
    match settings.account(name) {
        Some(account) => Consent::new(account).map_err(|error| error.to_string()),
        None => Err(format!("nobody has to log in to {name}: {}", settings.describe())),
    }
}
