//! The header of a mail -> what our own mail server says of where it comes from: whom it was delivered to, and whether
//! the server made it itself. Refuses to believe what stands below the server's own lines, for strangers write that.

use super::{
    fields::CLAUSES,
    mime::{Field, Mail},
};
use crate::{
    report::{Finding, Kind, Provenance},
    text::SubmissionHost,
};

/// What is known of our own mail servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnServers {
    /// By what names they call themselves, in lower case.
    pub names: Vec<String>,
    /// From which nothing comes but what our own programs submit.
    pub submission_hosts: Vec<SubmissionHost>,
    /// The users whose name Exim puts down for a bounce that it makes.
    pub local_users: Vec<String>,
    /// Whether the server hands mail on by LMTP (RFC 2033), so that one more line stands above its own.
    pub skip_lmtp: bool,
    /// The fields into which they put whom a mail is delivered to.
    pub delivered_to: Vec<String>,
}

impl Default for OwnServers {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            submission_hosts: Vec::new(),
            local_users: ["Debian-exim", "exim", "mail", "mailnull"].map(str::to_owned).to_vec(),
            skip_lmtp: true,
            delivered_to: ["Delivered-To", "X-Original-To", "Envelope-To"].map(str::to_owned).to_vec(),
        }
    }
}

/// What the header says.
pub(super) fn of(mail: &Mail<'_>, own: &OwnServers, kind: Kind) -> Provenance {
    let is_received = |field: &&Field<'_>| field.name.eq_ignore_ascii_case("Received");
    // Servers put their lines on top: what stands below the topmost stamp was there when the mail came.
    let above = mail.fields().iter().take_while(|field| !is_received(field));
    let mut delivered_to: Vec<(&str, Finding<String>)> = Vec::new();
    for field in above {
        let named = own.delivered_to.iter().find(|name| field.name.eq_ignore_ascii_case(name));
        // Of each the topmost alone.
        if let Some(name) = named.filter(|name| !delivered_to.iter().any(|(known, _)| known == name)) {
            let value = field.value().trim().trim_start_matches('<').trim_end_matches('>').to_owned();
            delivered_to.push((name, Finding { value, evidence: field.evidence() }));
        }
    }
    let mut received = mail.fields().iter().filter(is_received);
    let mut made_here = None;
    // A server that sends a stranger's mail on under another address stamps it like one that it made itself; but then
    // the stamp with which it let the stranger in stands below. So each has to be ours.
    let all_ours = received.all(|field| {
        // Most are of servers of others, and need not be taken apart.
        if !own.names.iter().any(|name| field.mentions(name)) {
            return false;
        }
        let stamp = Stamp::read(field.value());
        if own.skip_lmtp && stamp.is_lmtp() && stamp.is_by(own) {
            return true;
        }
        let ours = stamp.made_by(own);
        if ours && made_here.is_none() {
            made_here = Some(field.evidence());
        }
        ours
    });
    // What a bounce answers, it returns.
    let answers = matches!(kind, Kind::AutoReply | Kind::NotBounce);
    let in_reply_to = mail.header("In-Reply-To").filter(|_| answers).and_then(message_id);
    let delivered_to = delivered_to.into_iter().map(|(_, found)| found).collect();
    Provenance { delivered_to, made_here: made_here.filter(|_| all_ours), in_reply_to }
}

/// The first msg-id of a value (RFC 5322 §3.6.4), without its angle brackets.
fn message_id(value: &str) -> Option<String> {
    let (_, behind) = value.split_once('<')?;
    let (id, _) = behind.split_once('>')?;
    (!id.is_empty() && !id.contains(char::is_whitespace)).then(|| id.to_owned())
}

/// A Received field (RFC 5321 §4.4), taken apart as far as it tells whose it is.
#[derive(Debug, Default)]
struct Stamp<'a> {
    /// What stands behind `from`, with its comments: what the client called itself, and what it was seen to be.
    from: Option<&'a str>,
    by: &'a str,
    /// Between the server's name and `with`, `id` or `for`.
    program: &'a str,
    with: &'a str,
}

impl<'a> Stamp<'a> {
    fn read(value: &'a str) -> Self {
        let mut stamp = Self::default();
        let mut rest = value.trim_start();
        let mut word = "";
        while !rest.is_empty() {
            let (clause, behind) = clause(rest);
            match word {
                "" => {}
                "from" => stamp.from = Some(clause),
                "by" if !stamp.by.is_empty() => break,
                "by" => (stamp.by, stamp.program) = clause.split_once([' ', '(']).unwrap_or((clause, "")),
                "with" => stamp.with = clause.split_once([' ', '(']).map_or(clause, |(word, _)| word),
                _ => break,
            }
            let Some(behind) = behind else { break };
            (word, rest) = behind;
        }
        stamp
    }

    fn is_by(&self, own: &OwnServers) -> bool {
        own.names.iter().any(|name| self.by.eq_ignore_ascii_case(name))
    }

    fn is_lmtp(&self) -> bool {
        ["LMTP", "LMTPS", "LMTPA", "LMTPSA", "UTF8LMTP"].iter().any(|name| self.with.eq_ignore_ascii_case(name))
    }

    /// Whether one of our servers says that nobody brought the mail, or one of our own programs.
    fn made_by(&self, own: &OwnServers) -> bool {
        if !self.is_by(own) {
            return false;
        }
        let Some(from) = self.from else {
            // Postfix says so of what comes by its command sendmail, from whatever form of a website.
            return !self.program.contains("from userid");
        };
        let is_user = |user: &String| from == user;
        self.with.eq_ignore_ascii_case("local") && own.local_users.iter().any(is_user)
            // Sendmail's own; whoever calls himself so from elsewhere is seen with his address.
            || from == "localhost (localhost)"
            // OpenSMTPD's, of a bounce and of what its command sendmail brings.
            || (from.ends_with(" [local])") && from.matches('[').count() == 1)
            || is_among(from, &own.submission_hosts)
            || self.verified_name().is_some_and(|name| own.submission_hosts.iter().any(|host| host.has(Some(name), None)))
    }

    /// The name of the client, of `HELO (NAME [ADDRESS])`, where Postfix puts it down: it has found that name for the
    /// address and the address for that name, and leaves no parenthesis in what the client calls itself. Others look up
    /// the one alone.
    fn verified_name(&self) -> Option<&str> {
        if !self.program.starts_with("(Postfix") {
            return None;
        }
        let (_, client) = self.from?.split_once(" (")?;
        let (name, address) = client.split_once(" [")?;
        (!name.contains(' ') && address.ends_with("])")).then_some(name)
    }
}

/// What a clause says, up to the word that begins the next one, and from that word on; comments are jumped over.
fn clause(text: &str) -> (&str, Option<(&'static str, &str)>) {
    let (mut depth, mut at_word) = (0_u32, true);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return (text[..at].trim(), None),
            _ if depth == 0 && at_word => {
                let rest = &text.as_bytes()[at..];
                let begins = |word: &&&str| {
                    rest.get(word.len()) == Some(&b' ') && rest[..word.len()].eq_ignore_ascii_case(word.as_bytes())
                };
                if let Some(word) = CLAUSES.iter().find(begins) {
                    return (text[..at].trim(), Some((word, text[at + word.len()..].trim_start())));
                }
            }
            _ => {}
        }
        at_word = octet == b' ' || octet == b')';
    }
    (text.trim(), None)
}

/// Whether each address in brackets is one of these, and there is one: a client may call itself by any, and stamps of
/// programs differ in which of them was seen.
fn is_among(from: &str, hosts: &[SubmissionHost]) -> bool {
    let mut literals = from.split('[').skip(1).map(|behind| behind.split(']').next().unwrap_or(""));
    let is_ours = |literal: &str| {
        let address =
            literal.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:")).map_or(literal, |_| &literal[5..]);
        address.parse().is_ok_and(|address| hosts.iter().any(|host| host.has(None, Some(address))))
    };
    literals.next().is_some_and(is_ours) && literals.all(is_ours)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::parse::{Options, parse};

    fn own() -> OwnServers {
        OwnServers {
            names: vec!["mail.letters.example".to_owned(), "out.letters.example".to_owned()],
            submission_hosts: toml::from_str::<BTreeMap<String, Vec<SubmissionHost>>>(
                "hosts = ['192.0.2.7', '2001:db8::7', '10.1.0.0/16', 'app.letters.example']",
            )
            .unwrap()["hosts"]
                .clone(),
            ..OwnServers::default()
        }
    }

    fn read(header: &str, own: &OwnServers) -> Provenance {
        let mail = format!("{header}\nFrom: MAILER-DAEMON@mail.letters.example\nSubject: Hello\n\nHello\n");
        parse(mail.as_bytes(), &Options { own: own.clone(), ..Options::default() }).provenance
    }

    fn made_here(stamps: &[&str]) -> bool {
        let header: Vec<String> =
            stamps.iter().map(|stamp| format!("Received: {stamp}; Thu, 26 Nov 2026 10:00:00 +0000")).collect();
        read(&header.join("\n"), &own()).made_here.is_some()
    }

    const LMTP: &str = "from mail.letters.example\n\tby mail.letters.example with LMTP\n\tid Ab (envelope-from <>)\n\tfor <bounce@letters.example>";
    const POSTFIX: &str = "by mail.letters.example (Postfix)\n\tid BECDD9FA5B5";
    const EXIM: &str =
        "from Debian-exim by mail.letters.example with local (Exim 4.96)\n\tid 1x-0F-2m\n\tfor bounce@letters.example";
    const SENDMAIL: &str =
        "from localhost (localhost)\n\tby mail.letters.example (8.17.1.9/8.17.1.9) id 6ANBti0X000903";
    const OPENSMTPD: &str = "from mail.letters.example (mail.letters.example [local])\n\tby mail.letters.example (OpenSMTPD) with ESMTPA id f41b\n\tfor <b@letters.example>";

    #[test]
    fn what_our_own_servers_make_is_known_by_their_topmost_stamp() {
        for stamps in [
            &[POSTFIX] as &[_],
            &[LMTP, POSTFIX],
            &[EXIM],
            &[LMTP, EXIM],
            &[SENDMAIL],
            &[OPENSMTPD],
            &["from app (app.internal [192.0.2.7]) by mail.letters.example (Postfix) with ESMTP id 7"],
            &[
                "from app ([IPv6:2001:db8::7]) by mail.letters.example with esmtp (Exim 4.96)",
                "by out.letters.example (Postfix) id 8",
            ],
            &["By MAIL.letters.Example (Postfix) id 9"],
            &["from x (unknown [10.1.255.7]) by mail.letters.example (Postfix) with ESMTP id 7"],
            &["from x (App.letters.example [198.51.100.9]) by mail.letters.example (Postfix) with ESMTP id 7"],
        ] {
            assert!(made_here(stamps), "{stamps:?}");
        }
    }

    #[test]
    fn what_strangers_bring_is_not_made_here_whatever_they_write() {
        for stamps in [
            &[] as &[_],
            // As each program stamps what comes from a stranger.
            &["from evil.example (evil.example [198.51.100.1]) by mail.letters.example (Postfix) with ESMTP id 1"],
            &["from [198.51.100.1] (helo=[192.0.2.7]) by mail.letters.example with esmtp (Exim 4.96) id 1"],
            &["from [192.0.2.7] (unknown [198.51.100.1]) by mail.letters.example (Postfix) with ESMTP id 1"],
            &["from localhost (evil.example [198.51.100.1]) by mail.letters.example (8.17) with ESMTP id 1"],
            &["from by (evil.example [198.51.100.1]) by mail.letters.example (Postfix) with ESMTP id 1"],
            &["from with (evil.example [198.51.100.1]) by mail.letters.example (Postfix) with ESMTP id 1"],
            &["from [local] (evil.example [198.51.100.1]) by mail.letters.example (OpenSMTPD) with ESMTP id 1"],
            &["from Debian-exim (evil.example [198.51.100.1]) by mail.letters.example with esmtp id 1"],
            &["from Debian-exim by mail.letters.example with esmtp (Exim 4.96) id 1"],
            // From a website's form.
            &["by mail.letters.example (Postfix, from userid 33)\n\tid 1"],
            &["from www-data by mail.letters.example with local (Exim 4.96) id 1"],
            &["from x (unknown [10.2.0.7]) by mail.letters.example (Postfix) with ESMTP id 1"],
            // Not the name that Postfix has found, or found by a server that looks no further.
            &[
                "from app.letters.example (evil.example [198.51.100.1]) by mail.letters.example (Postfix) with ESMTP id 1",
            ],
            &["from app.letters.example (unknown [198.51.100.1]) by mail.letters.example (Postfix) with ESMTP id 1"],
            &["from x (app.letters.example [198.51.100.1]) by mail.letters.example (OpenSMTPD) with ESMTP id 1"],
            &[
                "from x (app.letters.example [198.51.100.1] (may be forged)) by mail.letters.example (8.17) with ESMTP id 1",
            ],
            &["from app.letters.example ([198.51.100.1]) by mail.letters.example with esmtp (Exim 4.96) id 1"],
            // A server that is not ours; large providers stamp a stranger's mail without `from`.
            &["by 2002:a05:6214:1946:b0 with SMTP id x"],
            &["by mail.letters.example.evil.example (Postfix) id 1"],
            &["(qmail 12 invoked for bounce)"],
            // Forged below our own.
            &[
                "from evil.example (evil.example [198.51.100.1]) by mail.letters.example (Postfix) with ESMTP id 1",
                POSTFIX,
            ],
            &[
                LMTP,
                "from evil.example (evil.example [198.51.100.1]) by mail.letters.example (Postfix) with ESMTP id 1",
                POSTFIX,
            ],
            // Sent on under an alias.
            &[
                POSTFIX,
                "from evil.example (evil.example [198.51.100.1]) by mail.letters.example (Postfix) with ESMTP id 1",
            ],
            &[LMTP],
            &["from mail.letters.example by mail.elsewhere.example with LMTP id 1", POSTFIX],
        ] {
            assert!(!made_here(stamps), "{stamps:?}");
        }
    }

    #[test]
    fn whom_it_was_delivered_to_is_read_above_the_first_stamp_alone_and_of_each_field_the_topmost() {
        let header = "Return-Path: <>\nX-Original-To: bounce+k1@letters.example\nDelivered-To: <vmail@letters.example>\n\
                      delivered-to: forged@letters.example\nReceived: from evil.example by mail.letters.example\n\
                      Envelope-To: forged@letters.example\nIn-Reply-To: (our mail) <7@letters.example> <8@letters.example>";
        let found = read(header, &own());
        let delivered: Vec<_> = found.delivered_to.iter().map(|one| (one.value.as_str(), one.evidence.line)).collect();
        assert_eq!(delivered, [("bounce+k1@letters.example", Some(2)), ("vmail@letters.example", Some(3))]);
        assert_eq!(found.in_reply_to.as_deref(), Some("7@letters.example"));
        let none = OwnServers { delivered_to: Vec::new(), ..own() };
        assert_eq!(read(header, &none).delivered_to, []);
    }

    #[test]
    fn a_server_that_nobody_named_is_not_ours_and_lmtp_is_skipped_only_where_it_may() {
        let stamped = |stamp: &str, own: &OwnServers| read(&format!("Received: {stamp}; now"), own).made_here.is_some();
        assert!(!stamped(POSTFIX, &OwnServers::default()));
        let plain = OwnServers { skip_lmtp: false, ..own() };
        assert!(stamped(POSTFIX, &plain) && !stamped(&format!("{LMTP}; now\nReceived: {POSTFIX}"), &plain));
    }

    proptest::proptest! {
        /// Whatever a stranger puts below: our server has stamped it with his address.
        #[test]
        fn no_header_of_a_stranger_makes_a_mail_ours(helo in "[!-~]{1,40}", below in "(Received: [ -~é€]{0,80}\n|Delivered-To: [!-~]{1,40}\n|[ -~]{0,40}\n){0,6}") {
            let ours = format!("Received: from {helo} (unknown [198.51.100.1]) by mail.letters.example (Postfix) with ESMTP id 1; now");
            let found = read(&format!("{ours}\n{}", below.trim_end()), &own());
            proptest::prop_assert_eq!(found.made_here, None);
            proptest::prop_assert_eq!(found.delivered_to, []);
        }
    }
}
