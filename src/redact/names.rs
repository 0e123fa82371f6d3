//! What a mail calls people, hosts and things -> what the copy calls them; the same name always becomes the same.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::keep::Keep;
use crate::text::{fold, is_internal, organisation};

/// All that one mail has named so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<String, String>,
    hosts: HashMap<String, String>,
    ips: HashMap<IpAddr, String>,
    ids: HashMap<String, String>,
    people: HashMap<String, String>,
    subjects: HashMap<String, String>,
    boundaries: HashMap<String, String>,
    /// Words of names and subjects, folded: wherever they stand alone they are masked.
    words: HashSet<String>,
}

/// What addresses and hosts become. Words that no table has: "user" and "host" would be found by phrases.
const USER: &str = "anon";
const HOST: &str = "hub";

/// How the boundaries of a copy begin.
const BOUNDARY: &str = "=_part_";

/// Whether a boundary may tell something. One of a few letters or of dashes alone does not, and may be text as well.
pub(super) fn is_telling_boundary(boundary: &str) -> bool {
    let ours = boundary.starts_with(BOUNDARY) && boundary.len() == BOUNDARY.len() + "0001_=".len();
    !ours && boundary.len() >= 8 && boundary.bytes().any(|c| c.is_ascii_alphanumeric())
}

/// Shorter words tell nothing.
pub(super) const SHORTEST: usize = 3;

impl Names {
    /// A local part, or a piece of one.
    pub fn user(&mut self, local: &str, keep: &Keep) -> String {
        let key = local.to_lowercase();
        if !self.users.contains_key(&key) {
            self.hide_words(local, keep);
        }
        next(&mut self.users, key, |n| format!("{USER}{n}"))
    }

    /// The stand-in of a word that was a local part.
    pub fn known_user(&self, word: &str) -> Option<&str> {
        let telling = word.len() >= SHORTEST && word.chars().any(char::is_alphabetic);
        self.users.get(&word.to_lowercase()).filter(|_| telling || word.len() > 6).map(String::as_str)
    }

    /// A private host.
    pub fn host(&mut self, host: &str, keep: &Keep) -> String {
        let key = one_form(host);
        if !self.hosts.contains_key(&key) {
            self.hide_words(host.rsplit_once('.').map_or(host, |(labels, _)| labels), keep);
        }
        // Hosts of one organisation stay hosts of one, and one that only its own network knows stays so: whether a mail
        // was forwarded to somebody else is told by that.
        let above = match organisation(&key) {
            _ if is_internal(&key) => "internal".to_owned(),
            Some(above) if above != key => self.host(above, keep),
            _ => "example".to_owned(),
        };
        next(&mut self.hosts, key, |n| format!("{HOST}{n}.{above}"))
    }

    /// Whether this is a host that was named as one.
    pub fn knows_host(&self, host: &str) -> bool {
        self.hosts.contains_key(&one_form(host))
    }

    /// An address of the documentation ranges (RFC 5737, RFC 3849); loopback and unspecified ones stay.
    pub fn ip(&mut self, ip: IpAddr) -> String {
        if ip.is_loopback() || ip.is_unspecified() {
            return ip.to_string();
        }
        let n = self.ips.len();
        let stand_in = || match ip {
            // Two hundred addresses of each range, then the first range again.
            IpAddr::V4(_) => {
                let ranges = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];
                let [a, b, c] = ranges[n / 200 % 3];
                Ipv4Addr::new(a, b, c, u8::try_from(n % 200 + 1).unwrap_or(1)).to_string()
            }
            IpAddr::V6(_) => {
                let low = u16::try_from(n % 0xffff + 1).unwrap_or(1);
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, low).to_string()
            }
        };
        self.ips.entry(ip).or_insert_with(stand_in).clone()
    }

    /// A queue id, a serial number: something as long.
    pub fn id(&mut self, id: &str) -> String {
        let fill = if id.bytes().all(|b| b.is_ascii_digit()) { '0' } else { 'x' };
        next(&mut self.ids, id.to_owned(), |n| {
            let number = n.to_string();
            let missing = id.chars().count().saturating_sub(number.len());
            fill.to_string().repeat(missing) + &number
        })
    }

    /// A boundary between MIME parts.
    pub fn boundary(&mut self, boundary: &str) -> String {
        next(&mut self.boundaries, boundary.to_owned(), |n| format!("{BOUNDARY}{n:04}_="))
    }

    /// A display name.
    pub fn person(&mut self, name: &str, keep: &Keep) -> String {
        self.hide_words(name, keep);
        next(&mut self.people, fold(name).into_string(), |n| format!("Person {n}"))
    }

    /// The subject of the original; `None` for one that says only what tables say ("Undelivered Mail"), for the
    /// mail's own says so, too.
    pub fn subject(&mut self, subject: &str, keep: &Keep) -> Option<String> {
        self.hide_words(subject, keep);
        if subject.split(|c: char| !c.is_alphanumeric()).all(|word| keep.word(word)) {
            return None;
        }
        if self.subjects.len() >= MOST_SUBJECTS && !self.subjects.contains_key(subject) {
            return Some(format!("Subject {}", MOST_SUBJECTS + 1));
        }
        Some(next(&mut self.subjects, subject.to_owned(), |n| format!("Subject {n}")))
    }

    /// The subjects known so far that are long enough to be told from other words, the longest first, and what
    /// they became.
    pub fn subjects(&self) -> Vec<(String, String)> {
        let telling = self.subjects.iter().filter(|(subject, _)| subject.len() > SHORTEST);
        let mut subjects: Vec<_> = telling.map(|(subject, name)| (subject.clone(), name.clone())).collect();
        subjects.sort_by_key(|(subject, name)| (std::cmp::Reverse(subject.len()), name.clone()));
        subjects
    }

    /// Whether a word belongs to a name or a subject.
    pub fn hides(&self, word: &str) -> bool {
        self.words.contains(fold(word).as_str())
    }

    fn hide_words(&mut self, text: &str, keep: &Keep) {
        for word in text.split(|c: char| !c.is_alphanumeric()) {
            let telling = word.chars().any(char::is_alphabetic) || word.len() > 4;
            if word.chars().count() >= SHORTEST && telling && !keep.word(word) {
                self.words.insert(fold(word).into_string());
            }
        }
    }
}

/// A mail that repeats thousands of subjects is an attack on the time of others.
const MOST_SUBJECTS: usize = 16;

/// A-labels, lower case (RFC 5890): one host, one key.
fn one_form(host: &str) -> String {
    idna::domain_to_ascii(host).unwrap_or_else(|_| host.to_lowercase())
}

fn next(known: &mut HashMap<String, String>, key: String, name: impl FnOnce(usize) -> String) -> String {
    let n = known.len() + 1;
    known.entry(key).or_insert_with(|| name(n)).clone()
}
