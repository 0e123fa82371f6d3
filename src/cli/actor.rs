//! Who uses the command line, by the name that a history keeps.

use std::env;

/// The name of the login, of whoever became root by sudo as well.
pub(super) fn actor() -> String {
    let named = ["SUDO_USER", "LOGNAME", "USER"].into_iter().filter_map(|name| env::var(name).ok());
    let mut named = named.filter(|name| !name.is_empty());
    named.next().unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}
