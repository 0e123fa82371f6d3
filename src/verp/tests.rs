//! What is signed is verified, for its recipient alone; whatever a stranger changes of it is worth nothing.

use std::sync::LazyLock;

use proptest::{collection::vec, prelude::*};

use super::*;

const TODAY: i64 = 20_784;

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::parse(FILE).expect("it is a key file"));

/// `zero` is used no more, `k1` has an end, and `k2` signs.
const FILE: &str = "\
# Each may stand in capitals or not.
zero AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA until 2026-11-27
k1 gezdgnbvgy3tqojqgezdgnbvgy3tqojqgezdgnbvgy3tqojqgezdgnbvgy3tqojq # until when we don't know

k2 MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43UMFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U
k3 MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U until 2027-01-31
";

fn form(delimiter: Delimiter) -> Form {
    let address = Address::parse("Bounce.desk@News.example").unwrap();
    Form::new(&address, delimiter).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).expect(text)
}

/// Whether an address that mail came to is worth anything for a recipient; `None` where it has no token.
fn verified(to: &str, delimiter: Delimiter, recipient: &Address) -> Option<Result<(), Refusal>> {
    Token::read(to, delimiter).map(|token| KEYS.verify(&token, recipient, TODAY, 30))
}

/// Why it can't be signed.
fn unfit(signed: Result<String, VerpError>) -> String {
    match signed {
        Err(VerpError::Unfit(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_file_is_read_as_it_is_meant() {
    assert_eq!(KEYS.names().collect::<Vec<_>>(), ["zero", "k1", "k2", "k3"]);
    assert_eq!((KEYS.signs(), KEYS.free_name()), (Some("k2"), "k5".to_owned()));
    let none = Keys::parse("\n# nothing\n").unwrap();
    assert_eq!((none.signs(), none.free_name()), (None, "k1".to_owned()));
    let line = key_line("k2", &[7; SECRET_OCTETS]).unwrap();
    assert_eq!(Keys::parse(&format!("{FILE}{}", line.replace("k2", "k9"))).unwrap().signs(), Some("k9"));
    assert_eq!(Keys::parse(&line.replace('\n', "\r\n")).unwrap().free_name(), "k3");
    for name in ["", "K1", "k-1", "k12345678", "k 1", "k#"] {
        assert_eq!(key_line(name, &[7; SECRET_OCTETS]), None, "{name}");
    }
}

#[test]
fn a_wrong_key_file_is_refused_with_its_line_and_without_its_secrets() {
    let good = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";
    for (text, line, what) in [
        (format!("# one\nk1 {good}\nk1 {good}"), 3, "a key k1 stands above already"),
        ("k1".to_owned(), 1, "expected `KID SECRET` or"),
        (format!("k1 {good} 2026-12-31"), 1, "expected `KID SECRET` or"),
        (format!("k1 {good} until"), 1, "expected `KID SECRET` or"),
        (format!("k1 {good} after 2026-12-31"), 1, "expected `KID SECRET` or"),
        (format!("k1 {good} until 2026-13-31"), 1, "the end of k1 is no day"),
        (format!("K1 {good}"), 1, "the name of a key"),
        (format!("{good} k1"), 1, "the name of a key"),
        // Too short, too long, no multiple of eight, and characters that base32 lacks.
        (format!("k1 {}", &good[..24]), 1, "the secret of k1 is not 32 to 96 characters"),
        (format!("k1 {}", good.repeat(4)), 1, "the secret of k1 is not"),
        (format!("k1 {good}ME"), 1, "the secret of k1 is not"),
        (format!("k1 {good}MFRGGZDE===="), 1, "the secret of k1 is not"),
        (format!("k1 {}01890189", &good[..24]), 1, "the secret of k1 is not"),
    ] {
        let error = Keys::parse(&text).unwrap_err();
        assert!(error.line == line && error.what.starts_with(what), "{text}: {error}");
        assert!(!error.what.contains(&good[..8]), "{error}");
    }
    assert!(!format!("{:?}", *KEYS).to_uppercase().contains("MFRGG"), "{:?}", *KEYS);
    let token = Token::read("b+k1.1.c.mfrggzdfmztwq2lk@news.example", Delimiter::Plus).unwrap();
    assert!(!format!("{token:?}").to_lowercase().contains("mfrgg"), "{token:?}");
}

#[test]
fn a_token_is_worth_something_from_its_day_on_until_it_expires() {
    let ann = address("ann@example.org");
    let sent = KEYS.sign(&ann, "c42", TODAY, &form(Delimiter::Plus)).unwrap();
    let token = Token::read(&sent, Delimiter::Plus).unwrap();
    assert_eq!((token.kid(), token.day(), token.id()), ("k2", TODAY, Some("c42")));
    for (today, days, expected) in [
        (TODAY, 30, Ok(())),
        (TODAY + 30, 30, Ok(())),
        (TODAY + 31, 30, Err(Refusal::Expired)),
        (TODAY + 31, 31, Ok(())),
        // Where it was signed it was tomorrow.
        (TODAY - 1, 30, Ok(())),
        (TODAY - 2, 30, Err(Refusal::NotYet)),
        (i64::MIN, 30, Err(Refusal::NotYet)),
        (i64::MAX, 30, Err(Refusal::Expired)),
    ] {
        assert_eq!(KEYS.verify(&token, &ann, today, days), expected, "{today} {days}");
        // Nobody learns what would be, had he the key.
        assert_eq!(KEYS.verify(&token, &address("bob@example.org"), today, days), Err(Refusal::Wrong));
    }
    // Without an id there are no two dots in a row.
    let sent = KEYS.sign(&ann, "", TODAY, &form(Delimiter::Plus)).unwrap();
    assert!(sent.starts_with("bounce.desk+k2.20784.-.") && sent.ends_with("@news.example"), "{sent}");
    assert_eq!(Token::read(&sent, Delimiter::Plus).unwrap().id(), None);
}

#[test]
fn keys_are_followed_by_others_and_come_to_an_end() {
    let ann = address("ann@example.org");
    let of = |kid: &str, file: &str| {
        let line = file.lines().find(|line| line.starts_with(kid)).unwrap();
        let line = line.split(" until").next().unwrap();
        let sent = Keys::parse(line).unwrap().sign(&ann, "", TODAY, &form(Delimiter::Plus)).unwrap();
        Token::read(&sent, Delimiter::Plus).unwrap()
    };
    // 2026-11-27 is its last day.
    for (kid, today, expected) in [
        ("zero", TODAY, Ok(())),
        ("zero", TODAY + 1, Err(Refusal::Expired)),
        ("k1", TODAY, Ok(())),
        ("k3", TODAY, Ok(())),
    ] {
        assert_eq!(KEYS.verify(&of(kid, FILE), &ann, today, 30), expected, "{kid} {today}");
    }
    let other = FILE.replace("k2 MFRGG", "k2 ZZRGG").replace("k1 ", "k7 ");
    assert_eq!(KEYS.verify(&of("k2", &other), &ann, TODAY, 30), Err(Refusal::Wrong));
    assert_eq!(KEYS.verify(&of("k7", &other), &ann, TODAY, 30), Err(Refusal::UnknownKey));
    let ended = Keys::parse(&FILE.lines().filter(|line| line.contains(" until 2")).collect::<Vec<_>>().join("\n"));
    assert_eq!(ended.unwrap().sign(&ann, "", TODAY, &form(Delimiter::Plus)), Err(VerpError::NoKey));
}

#[test]
fn what_does_not_fit_is_not_signed() {
    let ann = address("ann@example.org");
    let sign = |id: &str, day: i64, prefix: &str| {
        let form = Form { prefix: prefix.to_owned(), ..form(Delimiter::Plus) };
        KEYS.sign(&ann, id, day, &form)
    };
    for id in ["-", "C42", "a.b", "a+b", "a b", "ä", "a@b", "a|b", "abcdefghijklmnopqrstu"] {
        assert!(unfit(sign(id, TODAY, "b")).starts_with(&format!("the id `{id}` is none")), "{id}");
    }
    for id in ["c42", "a-b_c", "--", "_", "0", "abcdefghijklmnopqrst"] {
        let sent = sign(id, TODAY, "b").unwrap();
        assert_eq!(Token::read(&sent, Delimiter::Plus).unwrap().id(), Some(id), "{sent}");
    }
    for day in [-1, 1_000_000] {
        assert!(unfit(sign("", day, "b")).starts_with(&format!("{day} is no day")));
    }
    let fits = "b".repeat(64 - "+k2.20784.c42.mfrggzdfmztwq2lk".len());
    let sent = sign("c42", TODAY, &fits).unwrap();
    assert_eq!(verified(&sent, Delimiter::Plus, &ann), Some(Ok(())));
    assert!(unfit(sign("c420", TODAY, &fits)).contains("more than 64 octets before the @"));
    assert_eq!(Token::read(&format!("b{sent}"), Delimiter::Plus), None, "nobody has signed so long a local part");

    let form = |address: &str| Form::new(&Address::parse(address).expect(address), Delimiter::Plus);
    let (longest, longer) = ("b".repeat(Form::LONGEST_PREFIX), "b".repeat(Form::LONGEST_PREFIX + 1));
    let key = Keys::parse(&key_line("k2345678", &[7; SECRET_OCTETS]).unwrap()).unwrap();
    assert!(key.sign(&ann, "", LAST_DAY, &form(&format!("{longest}@news.example")).unwrap()).is_ok());
    for none in [&format!("{longer}@news.example"), "\"b b\"@news.example", "bö@news.example"] {
        assert_eq!(form(none), None, "{none}");
    }
}

/// No key is needed to tell that.
#[test]
fn other_addresses_have_no_token() {
    for (to, delimiter) in [
        ("bounce@news.example", Delimiter::Plus),
        ("bounce+anna=example.org@news.example", Delimiter::Plus),
        ("bounce-anna=mail.example.org@news.example", Delimiter::Hyphen),
        ("prvs=4242abcdef=bounce+anna=mail.example.org@news.example", Delimiter::Plus),
        ("bounce+K1.19.9ZQ.K7@news.example", Delimiter::Plus),
        ("bounce+k1.20784.c42.mfrggzdfmztwq2lk", Delimiter::Plus),
        ("+k1.20784.c42.mfrggzdfmztwq2lk@news.example", Delimiter::Plus),
        ("k1.20784.c42.mfrggzdfmztwq2lk@news.example", Delimiter::Plus),
        ("bounce+k1.20784..mfrggzdfmztwq2lk@news.example", Delimiter::Plus),
        ("bounce+k1.020784.c42.mfrggzdfmztwq2lk@news.example", Delimiter::Plus),
        ("bounce+k1.+20784.c42.mfrggzdfmztwq2lk@news.example", Delimiter::Plus),
        ("bounce+k1.-1.c42.mfrggzdfmztwq2lk@news.example", Delimiter::Plus),
        ("bounce+k1.1000000.c42.mfrggzdfmztwq2lk@news.example", Delimiter::Plus),
        ("bounce+k1.20784.c42.mfrggzdfmztwq2l@news.example", Delimiter::Plus),
        ("bounce+k1.20784.c42.mfrggzdfmztwq2lkaaaaaaaa@news.example", Delimiter::Plus),
        ("bounce+k1.20784.c42.mfrggzdfmztwq2l1@news.example", Delimiter::Plus),
        ("bounce+k1.20784.c42.mfrggzdfmztwq2lk@news.example", Delimiter::Hyphen),
        ("bounce-k1.20784.c42.mfrggzdfmztwq2lk@news.example", Delimiter::Plus),
        ("bounce+k-1.20784.c42.mfrggzdfmztwq2lk@news.example", Delimiter::Plus),
        ("bounce+k1234567x.20784.c42.mfrggzdfmztwq2lk@news.example", Delimiter::Plus),
    ] {
        assert_eq!(Token::read(to, delimiter), None, "{to}");
    }
    for (to, delimiter) in [
        ("<Bounce+K1.20784.C42.MFRGGZDFMZTWQ2LK@News.Example>", Delimiter::Plus),
        ("list-bounce-k1.20784.a-b.mfrggzdfmztwq2lk@news.example", Delimiter::Hyphen),
    ] {
        assert!(Token::read(to, delimiter).is_some(), "{to}");
    }
}

fn delimiters() -> impl Strategy<Value = Delimiter> {
    prop_oneof![Just(Delimiter::Plus), Just(Delimiter::Hyphen)]
}

/// RFC 5321 §4.1.2, with at most 64 octets before the @ (§4.5.3.1.1).
fn recipients() -> impl Strategy<Value = String> {
    let atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,12}";
    let dot_string = vec(atom, 1..5).prop_map(|atoms| atoms.join("."));
    let quoted = vec("[ !#-\\[\\]-~]|\\\\[ -~]", 0..31).prop_map(|content| format!("\"{}\"", content.concat()));
    let domain = vec("[a-zA-Z0-9]([a-zA-Z0-9-]{0,10}[a-zA-Z0-9])?", 1..4).prop_map(|labels| labels.join("."));
    let literal = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|address| format!("[{address}]")),
        any::<std::net::Ipv6Addr>().prop_map(|address| format!("[IPv6:{address}]")),
    ];
    (prop_oneof![dot_string, quoted], prop_oneof![4 => domain, 1 => literal])
        .prop_map(|(local_part, domain)| format!("{local_part}@{domain}"))
        .prop_filter("at most 64 octets", |address| address.rfind('@').is_some_and(|at| at <= LONGEST_LOCAL_PART))
}

/// A text with one character in another's place, or with none there.
fn changed(text: &str, at: usize, to: Option<char>) -> String {
    let to: String = to.into_iter().collect();
    [&text[..at], &to, &text[at + 1..]].concat()
}

proptest! {
    #[test]
    fn every_address_that_rfc_5321_permits_comes_back(
        recipient in recipients(),
        id in "[a-z0-9_-]{0,20}",
        day in 0..=LAST_DAY,
        delimiter in delimiters(),
    ) {
        let id = if id == NO_ID { "" } else { &id };
        let recipient = address(&recipient);
        let form = Form { prefix: "b".to_owned(), ..form(delimiter) };
        let sent = KEYS.sign(&recipient, id, day, &form).unwrap();
        let local_part = sent.strip_suffix("@news.example").unwrap();
        prop_assert!(local_part.len() <= LONGEST_LOCAL_PART && !local_part.contains(".."));
        for sent in [sent.clone(), sent.to_uppercase(), format!("<{sent}>")] {
            let token = Token::read(&sent, delimiter).expect("it is of that form");
            prop_assert_eq!(token.id().unwrap_or_default(), id);
            prop_assert_eq!(KEYS.verify(&token, &recipient, day, 0), Ok(()));
        }
    }

    #[test]
    fn no_octet_can_be_changed(
        recipient in recipients(),
        id in "[a-z0-9_]{0,20}",
        delimiter in delimiters(),
        (at, of_recipient) in any::<(prop::sample::Index, prop::sample::Index)>(),
        to in prop::option::weighted(0.9, prop_oneof![2 => "[ -~]", 1 => any::<char>().prop_map(|c| c.to_string())]),
    ) {
        let to = to.and_then(|text| text.chars().next());
        let signed_for = address(&recipient);
        let form = Form { prefix: "b".to_owned(), ..form(delimiter) };
        let sent = KEYS.sign(&signed_for, &id, TODAY, &form).unwrap();
        // What stands around the token only says where our own server takes it.
        let (token, end) = (form.prefix.len(), sent.find('@').unwrap());
        let other = changed(&sent, token + at.index(end - token), to);
        if !other.eq_ignore_ascii_case(&sent) {
            prop_assert!(!matches!(verified(&other, delimiter, &signed_for), Some(Ok(()))), "{other} of {sent}");
        }
        let other = changed(&recipient, of_recipient.index(recipient.len()), to);
        if let Some(other) = Address::parse(&other).filter(|other| other.normalised() != signed_for.normalised()) {
            prop_assert_eq!(verified(&sent, delimiter, &other), Some(Err(Refusal::Wrong)));
        }
    }

    #[test]
    fn what_strangers_write_has_no_effect(to in "\\PC{0,80}", token in "[a-z0-9]{0,9}\\.[0-9]{0,7}\\.[a-z0-9_-]{0,21}\\.[a-z2-7]{15,17}") {
        let ann = address("ann@example.org");
        for delimiter in [Delimiter::Plus, Delimiter::Hyphen] {
            for to in [&to, &format!("b{delimiter}{token}@news.example")] {
                prop_assert!(!matches!(verified(to, delimiter, &ann), Some(Ok(()))), "{to}");
            }
        }
    }
}

/// Each octet of one token and of its recipient, by each other one.
#[test]
fn each_octet_counts() {
    let (recipient, delimiter) = ("ann+x@mail.example.org", Delimiter::Plus);
    let ann = address(recipient);
    let sent = KEYS.sign(&ann, "c42", TODAY, &form(delimiter)).unwrap();
    let (token, end) = (sent.find(delimiter.as_str()).unwrap(), sent.find('@').unwrap());
    let mut tried = 0;
    for octet in 0..128_u8 {
        for at in token..=end {
            let other = changed(&sent, at, Some(octet.into()));
            if !other.eq_ignore_ascii_case(&sent) {
                assert!(!matches!(verified(&other, delimiter, &ann), Some(Ok(()))), "{other:?} of {sent}");
                tried += 1;
            }
        }
        for at in 0..recipient.len() {
            let other = changed(recipient, at, Some(octet.into()));
            if let Some(other) = Address::parse(&other).filter(|other| other.normalised() != ann.normalised()) {
                assert_eq!(verified(&sent, delimiter, &other), Some(Err(Refusal::Wrong)), "{other:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 4_000, "{tried}");
}
