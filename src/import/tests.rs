use proptest::prelude::*;

use super::*;

/// 2026-11-26
const NOW: i64 = 1_795_651_200;

/// All rows of a file, with their lines.
fn rows(text: &str, named: Option<Form>) -> (Form, Vec<(u64, Row)>, Option<Broken>) {
    let Import { form, records } = Import::open(text.as_bytes(), named).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut rows = Vec::new();
    for found in records {
        match found {
            Ok(Found::Record(record)) => rows.push((record.line, form.row(&record, NOW))),
            Ok(Found::Bad { line, what }) => rows.push((line, Row::Bad(what))),
            Err(broken) => return (form, rows, Some(broken)),
        }
    }
    (form, rows, None)
}

/// `LINE ADDRESS ORIGIN SINCE DIAGNOSTIC NOTE` of an entry, with `-` for what is not there.
fn told((line, row): &(u64, Row)) -> String {
    match row {
        Row::Entry(entry) => {
            let since = match entry.since {
                Since::Given(at) => at.to_string(),
                Since::Unread => "?".to_owned(),
                Since::Absent => "-".to_owned(),
            };
            let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let (address, origin) = (entry.address.normalised(), entry.origin);
            format!("{line} {address} {origin} {since} {} {}", text(&entry.diagnostic), text(&entry.note))
        }
        Row::Left(left) => format!("{line} left {left}"),
        Row::Bad(what) => format!("{line} bad {what}"),
    }
}

/// Files as the programs write them; who wrote it, and what is read.
const FILES: &[(&str, Form, &[&str])] = &[
    (
        "# gone\nAnn@Example.org\r\n\nBob B. <bob@example.org>\n*@gone.example\n",
        Form::Text,
        &["2 ann@example.org import - - -", "4 bob@example.org import - - -", "5 *@gone.example import - - -"],
    ),
    ("email\nann@example.org\n", Form::Text, &["2 ann@example.org import - - -"]),
    ("{\"recipient_emails\": [\"ann@example.org\"]}", Form::Text, &["1 ann@example.org import - - -"]),
    ("[\"ann@example.org\"]", Form::Text, &["1 ann@example.org import - - -"]),
    // No JSON, but an address that looks like it.
    (
        "{ann@example.org\n*@gone.example\n",
        Form::Text,
        &["1 {ann@example.org import - - -", "2 *@gone.example import - - -"],
    ),
    (
        "address,origin,reason,since,rule,status,reply,diagnostic,note,mailbox,message_id\n\
         ann@example.org,hard,user_unknown,2011-10-21T11:02:55Z,codes:5.1.1,5.1.1,550,550 no such user,,bounces,1@x\n\
         '+eve@example.org,complaint,,2011-10-21T11:02:55Z,,,,,'=asked,,\n",
        Form::Bounced,
        &["2 ann@example.org hard 1319194975 550 no such user -", "3 +eve@example.org complaint 1319194975 - =asked"],
    ),
    (
        "[\n{\"address\":\"ann@example.org\",\"domain\":\"example.org\",\"origin\":\"manual\",\"reason\":null,\
         \"since\":\"2011-10-21T11:02:55Z\",\"at\":1319194975,\"note\":\"gone\"},\n{\"address\":\"bob@example.org\",\
         \"origin\":\"soft\",\"since\":\"2011-10-21T11:02:55Z\",\"expires\":\"2012-10-21T11:02:55Z\"}\n]\n",
        Form::Bounced,
        &["2 ann@example.org manual 1319194975 - gone", "3 left expired"],
    ),
    (
        "address,code,error,created_at\nann@example.org,550,5.1.1 No such mailbox,\"Fri, 21 Oct 2011 11:02:55 UTC\"\n\
         bob@example.org,607,550 complained,2011-10-21T11:02:55Z\n",
        Form::Mailgun,
        &[
            "2 ann@example.org import 1319194975 550 5.1.1 No such mailbox -",
            "3 bob@example.org complaint 1319194975 550 complained -",
        ],
    ),
    (
        "{\"items\": [{\"address\": \"ann@example.org\", \"code\": \"550\", \"error\": \"No such mailbox\", \
         \"created_at\": \"Fri, 21 Oct 2011 11:02:55 UTC\"}],\n \"paging\": {\"next\": \"https://api.mailgun.example\"}}",
        Form::Mailgun,
        &["1 ann@example.org import 1319194975 550 No such mailbox -"],
    ),
    (
        "{\"items\": [{\"address\": \"ann@example.org\", \"created_at\": \"Fri, 21 Oct 2011 11:02:55 UTC\"}]}",
        Form::Mailgun,
        &["1 ann@example.org complaint 1319194975 - -"],
    ),
    (
        "{\"items\": [{\"address\": \"ann@example.org\", \"tags\": [\"*\"], \"created_at\": \"x\"},\n\
         {\"address\": \"bob@example.org\", \"tags\": [\"news\"], \"created_at\": \"x\"}]}",
        Form::Mailgun,
        &["1 ann@example.org import ? - -", "2 left one_topic"],
    ),
    (
        "ann@example.org,BOUNCE\nbob@example.org,COMPLAINT\neve@example.org,WHATEVER\n",
        Form::Ses,
        &[
            "1 ann@example.org import - - ses: BOUNCE",
            "2 bob@example.org complaint - - ses: COMPLAINT",
            "3 bad `WHATEVER` is no reason that is known",
        ],
    ),
    (
        "{\"emailAddress\":\"ann@example.org\",\"reason\":\"BOUNCE\"}\n{\"emailAddress\":\"bob@example.org\",\"reason\":\"COMPLAINT\"}\n",
        Form::Ses,
        &["1 ann@example.org import - - ses: BOUNCE", "2 bob@example.org complaint - - ses: COMPLAINT"],
    ),
    (
        "{\n  \"SuppressedDestinationSummaries\": [\n    {\n      \"EmailAddress\": \"ann@example.org\",\n      \
         \"Reason\": \"COMPLAINT\",\n      \"LastUpdateTime\": \"2011-10-21T04:02:55.453000-07:00\"\n    }\n  ],\n  \
         \"NextToken\": \"x\"\n}\n",
        Form::Ses,
        &["3 ann@example.org complaint 1319194975 - ses: COMPLAINT"],
    ),
    (
        "[{\"created\":1319194975,\"email\":\"ann@example.org\",\"reason\":\"550 5.1.1 no such user\",\"status\":\"5.1.1\"},\n\
         {\"created\":1319194975,\"email\":\"bob@example.org\",\"reason\":\"mailbox full\",\"status\":\"5.2.2\"}]",
        Form::Sendgrid,
        &[
            "1 ann@example.org import 1319194975 550 5.1.1 no such user -",
            "2 bob@example.org import 1319194975 5.2.2 mailbox full -",
        ],
    ),
    (
        "status,reason,email,created\n5.1.1,\"550 5.1.1\nno such user\",ann@example.org,1319194975\n\
         5.1.1,550 no,bob@example.org,1319194975\n",
        Form::Sendgrid,
        &[
            "2 ann@example.org import 1319194975 550 5.1.1\nno such user -",
            "4 bob@example.org import 1319194975 550 no -",
        ],
    ),
    (
        "[{\"created\":1319194975,\"email\":\"ann@example\",\"reason\":\"Mail domain mentioned in email address is unknown\"}]",
        Form::Sendgrid,
        &["1 ann@example import 1319194975 Mail domain mentioned in email address is unknown -"],
    ),
    (
        "[{\"created\":1319194975,\"email\":\"ann@example.org\",\"ip\":\"192.0.2.1\"}]",
        Form::Sendgrid,
        &["1 ann@example.org complaint 1319194975 - -"],
    ),
    ("email,created\nann@example.org,1319194975\n", Form::Sendgrid, &["2 ann@example.org import 1319194975 - -"]),
    (
        "[{\"email\":\"ann@example.org\",\"group_id\":1,\"group_name\":\"news\",\"created_at\":1319194975}]",
        Form::Sendgrid,
        &["1 left one_topic"],
    ),
    (
        "{\"Suppressions\":[{\"EmailAddress\":\"ann@example.org\",\"SuppressionReason\":\"HardBounce\",\"Origin\":\"Recipient\",\
         \"CreatedAt\":\"2011-10-21T07:02:55-04:00\"},\n{\"EmailAddress\":\"bob@example.org\",\
         \"SuppressionReason\":\"SpamComplaint\",\"Origin\":\"Recipient\",\"CreatedAt\":\"2011-10-21T07:02:55-04:00\"}]}",
        Form::Postmark,
        &[
            "1 ann@example.org import 1319194975 - postmark: HardBounce",
            "2 bob@example.org complaint 1319194975 - postmark: SpamComplaint",
        ],
    ),
    (
        "EmailAddress,SuppressionReason,Origin,CreatedAt\nann@example.org,ManualSuppression,Customer,2011-10-21T11:02:55Z\n",
        Form::Postmark,
        &["2 ann@example.org import 1319194975 - postmark: ManualSuppression"],
    ),
    (
        "{\"contacts\":[{\"senderEmail\":\"\",\"email\":\"ann@example.org\",\"reason\":{\"code\":\"hardBounce\",\"message\":\"x\"},\
         \"blockedAt\":\"2011-10-21T11:02:55Z\"},\n{\"email\":\"bob@example.org\",\"reason\":{\"code\":\"contactFlaggedAsSpam\"},\
         \"blockedAt\":\"2011-10-21T11:02:55Z\"}],\"count\":2}",
        Form::Brevo,
        &[
            "1 ann@example.org import 1319194975 - brevo: hardBounce",
            "2 bob@example.org complaint 1319194975 - brevo: contactFlaggedAsSpam",
        ],
    ),
    (
        "EMAIL;REASON;BLOCKED AT\nann@example.org;Hard bounce;2011-10-21 11:02:55\n",
        Form::Brevo,
        &["2 ann@example.org import 1319194975 - brevo: Hard bounce"],
    ),
    (
        "{\"contacts\":[{\"email\":\"ann@example.org\",\"id\":1,\"emailBlacklisted\":true},\n\
         {\"email\":\"bob@example.org\",\"id\":2,\"emailBlacklisted\":false}]}",
        Form::Brevo,
        &["1 ann@example.org import - - -", "2 left not_suppressed"],
    ),
    (
        "{\"data\":{\"results\":[{\"id\":1,\"type\":\"hard\",\"source\":\"api\",\"meta\":{\"a\":[1]},\"created_at\":\"2011-10-21T11:02:55.5Z\",\
         \"email\":\"ann@example.org\",\"subscriber_uuid\":\"u\",\"campaign\":null},\n{\"type\":\"soft\",\"email\":\"bob@example.org\",\
         \"subscriber_uuid\":\"u\"},\n{\"type\":\"complaint\",\"email\":\"eve@example.org\",\"subscriber_uuid\":\"u\"}],\"total\":3}}",
        Form::Listmonk,
        &["1 ann@example.org import 1319194975 - -", "2 left soft", "3 eve@example.org complaint - - -"],
    ),
    (
        "uuid,email,name,attributes,status,created_at,updated_at\n\
         u,ann@example.org,Ann,\"{\"\"a\"\": 1}\",blocklisted,x,2011-10-21 11:02:55.5+00\nu,bob@example.org,Bob,{},enabled,x,x\n",
        Form::Listmonk,
        &["2 ann@example.org import 1319194975 - -", "3 left not_suppressed"],
    ),
    (
        "id\temail\tconfirmed\tblacklisted\tbouncecount\n1\tann@example.org\t1\t1\t5\n2\tbob@example.org\t1\t0\t0\n",
        Form::Phplist,
        &["2 ann@example.org import - - -", "3 left not_suppressed"],
    ),
    (
        "email,added,reason\nann@example.org,2011-10-21 11:02:55,bounced 5 times\n",
        Form::Phplist,
        &["2 ann@example.org import 1319194975 - phplist: bounced 5 times"],
    ),
];

#[test]
fn each_program_is_known_by_its_fields_and_its_words_are_understood() {
    for (text, form, expected) in FILES {
        for text in [(*text).to_owned(), format!("\u{feff}{text}"), text.replace('\n', "\r\n").replace("\r\r", "\r")] {
            for named in [None, Some(*form)] {
                let (found, rows, broken) = rows(&text, named);
                let told: Vec<_> = rows.iter().map(|row| told(row).replace("\r\n", "\n")).collect();
                assert_eq!((found, told.as_slice(), broken), (*form, &*expected.map_owned(), None), "{text}");
            }
        }
    }
    let of = |form: &&Form| FILES.iter().any(|(_, of, _)| of == *form);
    assert_eq!(Form::ALL.iter().find(|form| !of(form)), None, "a form without a file");
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for [&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn a_file_that_nobody_is_known_to_write_is_refused_and_its_fields_are_named() {
    for (text, words) in [
        // Subscribers: nothing says that these are not to be mailed.
        (
            "email,name,joined\nann@example.org,Ann,2011\n",
            "no program is known to write a file with these fields: email, name, joined",
        ),
        ("[{\"email\":\"ann@example.org\",\"name\":\"Ann\"}]", "these fields: email, name"),
        ("\u{0},x\na,b\n", "these fields: , x"),
        ("[1]", "expected a JSON list of objects"),
        ("{", "ends in the middle"),
    ] {
        let error = Import::open(text.as_bytes(), None).expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let error = Import::open(&b"address,code,error\n"[..], Some(Form::Ses)).map(|import| import.records.count());
    assert_eq!(error, Ok(0), "a header alone is an empty file of anybody");
    let error =
        Import::open(&b"address,code,error\na@b,1,x\n"[..], Some(Form::Ses)).expect_err("another's").to_string();
    assert!(error.contains("ses writes no file with these fields: address, code, error"), "{error}");
    let endless = format!("{},x\na,b\n", "é".repeat(20_000));
    let error = Import::open(endless.as_bytes(), None).expect_err("no table").to_string();
    assert!(error.len() < 300 && error.ends_with("éé…"), "{error}");
    let utf_16 = Import::open(&b"\xff\xfea\0@\0"[..], None).expect_err("UTF-16").to_string();
    assert!(utf_16.contains("save it as UTF-8"), "{utf_16}");
}

#[test]
fn what_is_no_address_is_bad_and_the_rest_is_read() {
    let (_, rows, broken) = rows("ann@example.org\nann\nb*b@example.org\n**@example.org\n*@example.org\n", None);
    let told: Vec<_> = rows.iter().map(told).collect();
    assert_eq!(broken, None);
    assert_eq!(told[1], "2 bad `ann` is no mail address");
    assert_eq!(told[2], "3 bad `b*b@example.org` is a pattern: only `*@domain` stands for others");
    assert!(told[3].starts_with("4 bad ") && told[4].starts_with("5 *@example.org "), "{told:?}");
    let (_, rows, _) = self::rows("address,code,error\na@b.example,1,x,y\n,1,x\nc@b.example\n", None);
    let told: Vec<_> = rows.iter().map(self::told).collect();
    assert_eq!(told[0], "2 bad 4 cells, where the first line has 3");
    assert_eq!(told[1], "3 bad the address is missing");
    assert_eq!(told[2], "4 c@b.example import - - -");
}

#[test]
fn a_row_without_an_end_takes_no_memory() {
    let table = format!("address,code,error\na@b.example,1,x\na@b.example,1,\"{}", "x\n".repeat(1 << 20));
    let (_, rows, broken) = rows(&table, None);
    let broken = broken.expect("it is too long");
    assert!(rows.len() == 1 && broken.line == 3 && broken.what.contains("a quote is not closed"), "{broken}");
    let line = "x".repeat(1 << 20);
    assert!(
        Import::open(line.as_bytes(), None).expect_err("it is too long").to_string().contains("a line of more than")
    );
}

#[test]
fn an_entry_never_begins_in_the_future_nor_ends_in_the_past() {
    let row = |more: &str| {
        let text =
            format!("{{\"address\":\"a@b.example\",\"origin\":\"soft\",\"since\":\"2040-01-01T00:00:00Z\"{more}}}");
        rows(&text, None).1.remove(0).1
    };
    let Row::Entry(entry) =
        row(",\"expires\":\"2041-01-01T00:00:00Z\",\"reason\":\"mailbox_full\",\"rule\":\"codes:5.2.2\"")
    else {
        panic!("it is in force")
    };
    assert_eq!((entry.since, entry.expires), (Since::Given(NOW), Some(2_240_611_200)));
    assert_eq!((entry.reason, entry.rule.as_deref()), (Some(Reason::MailboxFull), Some("codes:5.2.2")));
    assert_eq!(entry.origin, Origin::Soft);
    assert_eq!(row(",\"expires\":\"2026-11-26T00:00:00Z\""), Row::Left(Left::Expired));
    assert!(matches!(row(",\"expires\":\"soon\""), Row::Bad(_)));
}

/// A file of somebody, damaged.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 0..8);
    (prop::sample::select(FILES), damage).prop_map(|((text, _, _), damage)| {
        let mut bytes = text.as_bytes().to_vec();
        for (at, how, byte) in damage {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 => bytes.insert(at, b"\"{}[],;\n\\"[usize::from(byte) % 9]),
                2 => bytes.truncate(at),
                _ => drop(bytes.drain(at..(at + usize::from(byte)).min(bytes.len()))),
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn no_file_is_too_damaged_to_be_read_to_its_end(
        bytes in prop_oneof![damaged(), prop::collection::vec(any::<u8>(), 0..200)],
        named in prop::option::of(prop::sample::select(Form::ALL)),
    ) {
        let lines = 1 + bytes.iter().filter(|b| **b == b'\n').count() as u64;
        if let Ok(Import { form, records }) = Import::open(bytes.as_slice(), named) {
            prop_assert!(named.is_none_or(|named| named == form));
            let mut before = 0;
            for found in records {
                let line = match found {
                    Ok(Found::Record(record)) => {
                        if let Row::Entry(entry) = form.row(&record, NOW) {
                            let is_theirs = matches!(entry.origin, Origin::Import | Origin::Complaint);
                            prop_assert!(is_theirs || form == Form::Bounced);
                            prop_assert!(!matches!(entry.since, Since::Given(at) if at > NOW || at <= 0));
                        }
                        record.line
                    }
                    Ok(Found::Bad { line, .. }) | Err(Broken { line, .. }) => line,
                };
                prop_assert!(before <= line && line <= lines, "{} behind {} of {}", line, before, lines);
                before = line;
            }
        }
    }

    /// A damaged row costs itself and no other one, wherever rows are told apart by their lines.
    #[test]
    fn a_bad_line_costs_no_other(bad in "[a-z ,]{1,20}", at in 0..4_usize) {
        let mut lines = ["a@b.example,BOUNCE", "c@b.example,BOUNCE", "d@b.example,COMPLAINT"].map(str::to_owned).to_vec();
        lines.insert(at.max(1), bad);
        let (_, rows, broken) = rows(&lines.join("\n"), None);
        let entries = rows.iter().filter(|(_, row)| matches!(row, Row::Entry(_))).count();
        prop_assert_eq!((entries, broken), (3, None));
    }
}
