//! Who uses the command line, by the name that a history keeps.

use std::{env, fs};

/// The name of the login, of whoever became root by sudo as well; where nothing names it, as under cron or in a container,
/// the name of the user.
pub(super) fn actor() -> String {
    let named = ["SUDO_USER", "LOGNAME", "USER"].into_iter().filter_map(|name| env::var(name).ok());
    let mut named = named.filter(|name| !name.is_empty());
    let uid = rustix::process::getuid().as_raw();
    // Whom only a directory service knows has a login of his own, and so one of the variables.
    let known = || user_name(&fs::read_to_string("/etc/passwd").ok()?, uid);
    named.next().or_else(known).unwrap_or_else(|| format!("uid {uid}"))
}

/// passwd(5): `name:password:UID:…`.
fn user_name(passwd: &str, uid: u32) -> Option<String> {
    let mut names = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    names.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_as_the_list_of_users_says() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\n:x:7::::\nbroken\nann:x:1000:100:1001:/:/bin/sh\n";
        let names = [0, 1000, 100, 1001, 7].map(|uid| user_name(passwd, uid));
        assert_eq!(names, [Some("root".to_owned()), Some("ann".to_owned()), None, None, None]);
    }
}
