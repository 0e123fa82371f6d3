//! A mailbox whose tokens need somebody's consent -> the consent, ready to be asked for.

use crate::{
    config::{Config, Mailbox},
    source::login::Consent,
};

/// Prepares to ask for the consent that the mailbox of this name needs.
///
/// # Errors
/// One line with what to do: where there is no such mailbox, or where it needs nobody's consent.
pub fn consent(config: &Config, name: &str) -> Result<Consent, String> {
    let mailboxes = config.mailboxes();
    let Some(Mailbox { settings, .. }) = mailboxes.iter().find(|mailbox| mailbox.name == name) else {
        let names: Vec<&str> = mailboxes.iter().map(|mailbox| mailbox.name).collect();
        return Err(format!("no mailbox is called `{name}`; there are: {}", names.join(", ")));
    };
    match settings.account(name) {
        Some(account) => Consent::new(account).map_err(|error| error.to_string()),
        None => Err(format!("nobody has to log in to {name}: {}", settings.describe())),
    }
}
