//! config/providers.toml -> where the servers of known providers are, and what their answers mean.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{Mechanism, Protocol};

/// A provider of mailboxes, by its name in the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Provider(&'static Row);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    id: String,
    imap: Option<String>,
    pop3: Option<String>,
    pub(super) mechanism: Option<Mechanism>,
    pub(super) authorize: Option<String>,
    #[serde(default)]
    pub(super) extra: BTreeMap<String, String>,
    pub(super) device: Option<String>,
    pub(super) redirect: Option<String>,
    pub(super) token: Option<String>,
    scope: Option<Scope>,
    pub(super) app_scope: Option<String>,
    #[serde(default)]
    offers: Vec<Offer>,
    #[serde(default)]
    needs_secret: bool,
    pub(super) password: Option<String>,
}

/// A way to log in that a provider has, as docs/oauth2.md tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Offer {
    /// A password, often one that was made for this program alone.
    Password,
    /// The application logs in as itself.
    Application,
    /// The application logs in by the key of a service account.
    ServiceAccount,
    /// A person consents once.
    Consent,
}

impl Offer {
    /// As it stands in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Application => "application",
            Self::ServiceAccount => "service-account",
            Self::Consent => "consent",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    imap: String,
    pop3: String,
}

/// What an error of a token server means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meaning {
    says: String,
    /// Only of tokens that are asked for in this way.
    way: Option<String>,
    advice: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    provider: Vec<Row>,
    answer: Vec<Meaning>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../config/providers.toml")).expect("the tests read config/providers.toml")
});

impl Provider {
    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        TABLE.provider.iter().find(|row| row.id == name).map(Self)
    }

    /// The one that a person means who types this.
    pub(crate) fn meant(typed: &str) -> Option<Self> {
        Self::named(&typed.to_ascii_lowercase())
    }

    /// Its name in the configuration.
    pub(crate) fn name(self) -> &'static str {
        &self.0.id
    }

    /// The names of all, for people.
    pub(crate) fn names() -> String {
        TABLE.provider.iter().map(|row| row.id.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The ways to log in, the best one first; none where only a password will do.
    pub(crate) fn offers(self) -> &'static [Offer] {
        &self.0.offers
    }

    /// Whether its token server must be told a tenant.
    pub(crate) fn needs_tenant(self) -> bool {
        self.0.token.as_deref().is_some_and(|url| url.contains("{tenant}"))
    }

    /// Whether the application's secret is needed even where a person consents.
    pub(crate) fn needs_secret(self) -> bool {
        self.0.needs_secret
    }

    /// The host that serves this protocol; `None` where there is none.
    pub(crate) fn host(self, protocol: Protocol) -> Option<&'static str> {
        match protocol {
            Protocol::Imap => self.0.imap.as_deref(),
            Protocol::Pop3 => self.0.pop3.as_deref(),
        }
    }

    pub(super) fn scope(self, protocol: Protocol) -> Option<&'static str> {
        let scope = self.0.scope.as_ref()?;
        Some(match protocol {
            Protocol::Imap => &scope.imap,
            Protocol::Pop3 => &scope.pop3,
        })
    }

    pub(super) const fn row(self) -> &'static Row {
        self.0
    }
}

impl PartialEq for Provider {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl<'de> Deserialize<'de> for Provider {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        Self::named(&id).ok_or_else(|| {
            let names = Self::names();
            D::Error::custom(format!("unknown provider `{id}`, expected one of {names}; or set host yourself"))
        })
    }
}

/// What to do about an error of a token server that was asked in this `way`; `login` is the command that consents anew.
pub(super) fn advice(error: &str, way: &str, login: &str) -> Option<String> {
    let fits = |row: &&Meaning| error.contains(&row.says) && row.way.as_deref().is_none_or(|only| only == way);
    TABLE.answer.iter().find(fits).map(|row| row.advice.replace("{login}", &format!("`{login}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_read_and_each_row_can_be_reached() {
        for (n, row) in TABLE.provider.iter().enumerate() {
            assert!(TABLE.provider[..n].iter().all(|before| before.id != row.id), "{}", row.id);
            let with_tokens = row.authorize.is_some();
            assert_eq!((row.token.is_some(), row.scope.is_some()), (with_tokens, with_tokens), "{}", row.id);
            assert!(!with_tokens || row.mechanism.is_some(), "{}", row.id);
            assert_eq!(row.offers.is_empty(), !with_tokens, "{}", row.id);
        }
        for row in &TABLE.answer {
            let way = row.way.as_deref().unwrap_or("refresh_token");
            assert_eq!(advice(&row.says, way, "L"), Some(row.advice.replace("{login}", "`L`")), "{}", row.says);
        }
    }

    #[test]
    fn an_error_is_told_with_its_cure() {
        let error = "invalid_client: AADSTS7000222: The provided client secret keys are expired.";
        assert!(advice(error, "client_credentials", "L").unwrap().contains("has run out"));
        assert!(advice("invalid_grant", "refresh_token", "bounced login b").unwrap().contains("`bounced login b`"));
        assert!(advice("invalid_grant", "service_account", "L").unwrap().contains("clock"));
        assert_eq!(advice("nobody_knows", "refresh_token", "L"), None);
    }
}
