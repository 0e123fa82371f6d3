//! The keys that the configuration names -> envelope senders that are signed and verified by them; and a new key.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{
    config::Config,
    files::{directory_of, give_to_owner_of_directory},
    policy::DAY,
    report::{Address, Signature},
    verp::{Form, Keys, KeysError, Refusal, SECRET_OCTETS, Token, VerpError, key_line},
};

/// Signs and verifies as the configuration says.
#[derive(Debug)]
pub struct Signer {
    keys: Keys,
    form: Form,
    /// How many days a token counts.
    valid: i64,
    /// Whether every user of the machine can sign, too.
    is_exposed: bool,
}

impl Signer {
    /// `None` where the configuration names no keys.
    ///
    /// # Errors
    /// The key file can't be read, or is refused: one line that names it, and the key of the configuration.
    pub fn configured(config: &Config) -> Result<Option<Self>, String> {
        let Some((path, form)) = config.verp.keys.as_ref().zip(config.verp.form()) else { return Ok(None) };
        let mut text = String::new();
        let read = File::open(path).and_then(|mut file| {
            file.read_to_string(&mut text)?;
            file.metadata()
        });
        let mode = read.map_err(|error| unusable(path, &error))?.permissions().mode();
        let keys = Keys::parse(&text).map_err(|error| refused(path, &error))?;
        if keys.names().next().is_none() {
            return Err(in_file(path, &"it holds no key; `bounced verp keygen` makes one"));
        }
        Ok(Some(Self { keys, form, valid: config.verp.valid_days(), is_exposed: mode & 0o004 != 0 }))
    }

    /// The envelope sender for one recipient: see [`Keys::sign`].
    ///
    /// # Errors
    /// No key signs, or id, day or length are beyond what the form permits.
    pub fn sign(&self, recipient: &Address, id: &str, day: i64) -> Result<String, VerpError> {
        self.keys.sign(recipient, id, day, &self.form)
    }

    /// The token of an address that a mail came to, whoever made it up; `None` where there is none.
    #[must_use]
    pub fn token(&self, address: &str) -> Option<Token> {
        Token::read(address, self.form.delimiter)
    }

    /// Whether one of the keys has signed it for this recipient, and it counts on this day: see [`Keys::verify`].
    ///
    /// # Errors
    /// Why it is worth nothing.
    pub fn verify(&self, token: &Token, recipient: &Address, today: i64) -> Result<(), Refusal> {
        self.keys.verify(token, recipient, today, self.valid)
    }

    /// A token as whoever counts on it keeps it.
    #[must_use]
    pub fn signature(&self, token: &Token) -> Signature {
        let end = token.day().saturating_add(self.valid).saturating_add(1);
        Signature { digest: token.digest(), until: end.saturating_mul(DAY) }
    }

    /// What it does, in words for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let Form { prefix, delimiter, domain } = &self.form;
        let names = self.keys.names().collect::<Vec<_>>().join(", ");
        let signs = self.keys.signs().map_or("no key signs".to_owned(), |name| format!("{name} signs"));
        let exposed =
            if self.is_exposed { "; every user of this machine can read the keys: chmod o-r the file" } else { "" };
        format!("{prefix}{delimiter}TOKEN@{domain} counts {} days; {signs}, {names} verify{exposed}", self.valid)
    }
}

fn unusable(path: &Path, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "`bounced verp keygen` makes it in a directory that is there",
        io::ErrorKind::PermissionDenied => "run this as root or as the user that runs bounced",
        io::ErrorKind::IsADirectory => "name a file",
        io::ErrorKind::InvalidData => "it is no key file; name the one that `bounced verp keygen` made",
        io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem => "make room, or name a file on another disk",
        _ => "check the file and its directory",
    };
    in_file(path, &format_args!("{error}; {remedy}"))
}

fn refused(path: &Path, error: &KeysError) -> String {
    format!("[verp] keys {}:{error}; mend the line, or take it out", path.display())
}

fn in_file(path: &Path, what: &dyn std::fmt::Display) -> String {
    format!("[verp] keys {}: {what}", path.display())
}

/// A key that was added to its file, where it signs from now on.
#[derive(Debug)]
pub struct NewKey {
    /// What it is called.
    pub name: String,
    /// Where it stands.
    pub file: PathBuf,
    /// Those that stood there before.
    pub others: Vec<String>,
}

/// Adds a key to the file that the configuration names, which is made where it is missing, for the owner of its directory
/// alone. Waits for the disk: what is signed with a key that is lost is worth nothing.
///
/// # Errors
/// One line that says what is wrong: no file is named, it can't be written or is refused, or no key can be called so.
pub fn add_key(config: &Config, name: Option<&str>) -> Result<NewKey, String> {
    let path = config.verp.keys.clone().ok_or_else(|| {
        let line = "keys = \"/var/lib/bounced/verp.keys\"";
        format!("the configuration names no file for the keys: write {line} and the address below [verp]")
    })?;
    let cannot = |error: io::Error| unusable(&path, &error);
    let secret: [u8; SECRET_OCTETS] = rand::random();
    let line_of = |name: &str| {
        key_line(name, &secret).ok_or_else(|| format!("no key can be called `{name}`: take up to 8 of a-z and 0-9"))
    };
    // Before anything is made.
    name.map(line_of).transpose()?;
    let mut file = File::options().read(true).append(true).create(true).mode(0o600).open(&path).map_err(cannot)?;
    // Two at once would call their keys alike.
    file.lock().map_err(cannot)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(cannot)?;
    let keys = Keys::parse(&text).map_err(|error| refused(&path, &error))?;
    let name = name.map_or_else(|| keys.free_name(), str::to_owned);
    if keys.has(&name) {
        return Err(in_file(&path, &format_args!("there is a key {name} already; take another name")));
    }
    let line = line_of(&name)?;
    if text.is_empty() {
        give_to_owner_of_directory(&file, &path);
    }
    let ends_line = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let written = file.write_all(format!("{ends_line}{line}").as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a line would be a mistake in the file, for everybody.
        let _ = file.set_len(text.len() as u64);
    }
    written.and_then(|()| File::open(directory_of(&path))?.sync_all()).map_err(cannot)?;
    let others = keys.names().map(str::to_owned).collect();
    Ok(NewKey { name, file: path, others })
}
