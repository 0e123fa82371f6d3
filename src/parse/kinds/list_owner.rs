//! Header of a mail -> whether it went to the owner of the list that its List-* fields name. A list's server puts these
//! fields on everything that passes through it, bounces to the owner included. Refuses to know what the mail says.

use crate::{
    parse::{
        mime::Mail,
        words::{Role, Words},
    },
    text::addresses,
};

/// Whether one of those to whom the mail went is the owner or the bounce address of a list that it names.
pub(super) fn is_addressed(mail: &Mail<'_>) -> bool {
    let named = ["List-Post", "X-BeenThere", "List-Id", "Mailing-List", "X-Mailing-List"];
    let lists: Vec<String> = named.iter().filter_map(|name| mail.header(name)).filter_map(list).collect();
    if lists.is_empty() {
        return false;
    }
    let noted = ["Delivered-To", "X-Original-To", "Envelope-To"].iter().filter_map(|name| mail.header(name));
    let to = mail.to.iter().map(String::as_str).chain(noted).flat_map(|field| addresses(field).take(MOST_ADDRESSES));
    let to: Vec<String> = to.map(|(_, address)| address.normalised().to_owned()).take(MOST_ADDRESSES).collect();
    // A list's server names itself as the one to whom errors go.
    let for_errors = ["Sender", "Errors-To"].iter().filter_map(|name| mail.header(name));
    let for_errors: Vec<String> =
        for_errors.flat_map(|field| addresses(field).take(1)).map(|(_, a)| a.normalised().to_owned()).collect();
    let is_owner = |to: &String| {
        let of_list = |list: &String| owns(to, list, mail.words);
        lists.iter().any(of_list) || (for_errors.contains(to) && is_role(to, mail.words))
    };
    to.iter().any(is_owner)
}

/// A stranger may name thousands.
const MOST_ADDRESSES: usize = 20;

/// `talk.lists.example.org` of `Talk <talk.lists.example.org>` and of `<mailto:talk@lists.example.org>`.
fn list(field: &str) -> Option<String> {
    let inner = field.rsplit_once('<').map_or(field, |(_, inner)| inner);
    let inner = inner.trim_start_matches("mailto:").trim_start_matches("list ");
    let end = inner.find(['>', '?', ';', ' ']).unwrap_or(inner.len());
    let name = inner[..end].trim().to_lowercase().replacen('@', ".", 1);
    name.contains('.').then_some(name)
}

/// `talk-bounces@lists.example.org`, `talk-bounces+bob=example.com@lists.example.org`, `owner-talk@lists.example.org`.
fn owns(to: &str, list: &str, words: &Words) -> bool {
    let Some((local, domain)) = to.rsplit_once('@') else { return false };
    let Some(name) = list.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')) else { return false };
    if local.strip_suffix(name).is_some_and(|before| words.have(Role::ListOwner, before.trim_end_matches('-'))) {
        return true;
    }
    let Some(behind) = local.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')) else { return false };
    let end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
    words.have(Role::ListOwner, &behind[..end])
}

/// `talk-bounces@…`, of whichever list.
fn is_role(to: &str, words: &Words) -> bool {
    let local = to.rsplit_once('@').map_or(to, |(local, _)| local);
    let ends = [local.rsplit_once('-').map(|(_, end)| end), local.split_once('-').map(|(start, _)| start)];
    ends.into_iter().flatten().any(|end| words.have(Role::ListOwner, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_s_owner_is_known_in_the_ways_of_list_managers() {
        let words = Words::embedded();
        let list = list("Talk <talk.lists.example.org>").unwrap();
        assert_eq!(super::list("<mailto:talk@lists.example.org>").unwrap(), list);
        for to in
            ["talk-bounces", "talk-admin", "talk-owner", "owner-talk", "talk-bounces+bob=example.com", "talk-return-12"]
        {
            assert!(owns(&format!("{to}@lists.example.org"), &list, &words), "{to}");
        }
        for to in
            ["talk@lists.example.org", "talk-bounces@example.org", "anna@example.org", "talk-show@lists.example.org"]
        {
            assert!(!owns(to, &list, &words), "{to}");
        }
    }
}
