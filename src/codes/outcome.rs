//! The three independent answers per failed recipient: class, reason, fault.

use serde::Serialize;

/// Defines an enum of words: its snake_case serde form, `as_str`, `ALL`, `Display` and `FromStr` in one place.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every value, in the documented order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable word used in JSON, SQL and the tables.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::codes::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| $crate::codes::UnknownWord {
                    word: text.to_owned(),
                    expected: Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}
pub(crate) use words;

/// A word outside the fixed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is unknown; expected one of: {expected}")]
pub struct UnknownWord {
    /// What was given.
    pub word: String,
    /// The allowed words, joined with commas.
    pub expected: String,
}

words! {
    /// What the list owner should do with the address.
    Class {
        /// The address is dead: stop mailing it.
        Hard = "hard",
        /// Try again later.
        Soft = "soft",
        /// No failure.
        Success = "success",
    }
}

words! {
    /// Whose fault the failure is. A policy suppresses nobody for another's than the recipient's, unless it says so.
    Fault {
        /// The address or its mailbox.
        Recipient = "recipient",
        /// The sender: reputation, authentication, rate, relaying.
        Sender = "sender",
        /// This message: size, spam, virus, format.
        Content = "content",
        /// The way between: routing, DNS, time-outs, an overloaded server.
        Network = "network",
        /// The mail does not say.
        Unknown = "unknown",
    }
}

words! {
    /// Why, in one word of a fixed set.
    Reason {
        /// No such mailbox.
        UserUnknown = "user_unknown",
        /// The address is malformed or impossible.
        BadAddress = "bad_address",
        /// The owner left with or without a new address.
        Moved = "moved",
        /// The domain does not exist or takes no mail.
        BadDomain = "bad_domain",
        /// The mailbox exists but is switched off, suspended or inactive.
        Disabled = "disabled",
        /// The mailbox is over quota.
        MailboxFull = "mailbox_full",
        /// The recipient's own filter or preference refused.
        Filtered = "filtered",
        /// The message is too big.
        TooBig = "too_big",
        /// The message's form or content was refused.
        Content = "content",
        /// Judged spam.
        Spam = "spam",
        /// Judged a virus or a forbidden attachment.
        Virus = "virus",
        /// The sending host stands on a blocklist or has a bad reputation.
        Blocked = "blocked",
        /// A local policy refused.
        Policy = "policy",
        /// SPF, DKIM, DMARC, reverse DNS or TLS requirements failed, or a login was missing.
        Auth = "auth",
        /// The sender's address was refused.
        SenderRejected = "sender_rejected",
        /// The server does not relay for us.
        Relaying = "relaying",
        /// Too many messages, recipients or connections.
        RateLimited = "rate_limited",
        /// A temporary refusal: greylisting, busy mailbox, try again.
        Deferred = "deferred",
        /// The retry time ran out without a better cause.
        Expired = "expired",
        /// Connections, DNS or routing failed.
        Network = "network",
        /// The receiving system is broken, full or misconfigured.
        System = "system",
        /// An SMTP command was refused as wrong or unsupported.
        Protocol = "protocol",
        /// The recipient asked, through the provider, for no more mail (complaint-driven blocks).
        Suppressed = "suppressed",
        /// Another mailbox, to which the address forwards, is dead: the address itself may still work.
        ForwardingFailed = "forwarding_failed",
        /// Delivered, relayed or accepted.
        Delivered = "delivered",
        /// The mail does not say, and a guess would be a lie.
        Undetermined = "undetermined",
    }
}

/// Class, reason and fault together: what a row of a table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// Hard, soft or success.
    pub class: Class,
    /// Why, in one word.
    pub reason: Reason,
    /// Whose fault.
    pub fault: Fault,
}
