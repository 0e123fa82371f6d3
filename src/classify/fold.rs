//! Text -> the one form in which phrases and mails are compared. Knows nothing of phrases.

/// Lower case, Latin accents removed, typographic quotes made ASCII, every run of white space one blank.
///
/// Case folding of more than Latin, Greek and Cyrillic letters is Unicode's; only the accents of Latin letters are
/// removed, since programs drop them ("Empfanger") and people forget them.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = true;
    for c in text.chars() {
        if c.is_ascii() {
            if c.is_ascii_whitespace() {
                if !blank {
                    out.push(' ');
                    blank = true;
                }
                continue;
            }
            out.push(c.to_ascii_lowercase());
        } else if c.is_whitespace() {
            if !blank {
                out.push(' ');
                blank = true;
            }
            continue;
        } else {
            push_folded(c, &mut out);
        }
        blank = false;
    }
    if out.ends_with(' ') {
        out.pop();
    }
    out
}

/// Takes the reporting MTA's own frame off a folded text, so that only the refusing server's words are left:
/// `host mx.example.org[192.0.2.1] said: 550 no such user (in reply to RCPT TO command)` (Postfix smtp_trouble.c).
/// Phrases that tell who is meant by words such as "host" and "command" would trip over it.
#[must_use]
pub fn unframe(folded: String) -> String {
    if !folded.contains(" said: ") && !folded.contains(REPLY_TO) {
        return folded;
    }
    let mut out = String::with_capacity(folded.len());
    let mut rest = folded.as_str();
    while let Some(at) = rest.find(REPLY_TO) {
        let Some(end) = rest[at..].find(')') else { break };
        out.push_str(rest[..at].trim_end());
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    let Some(said) = out.find(" said: ") else { return out };
    let Some(host) = out[..said].rfind("host ").filter(|host| said - host < LONGEST_FRAME) else { return out };
    out.replace_range(host..said + " said: ".len(), "");
    out
}

const REPLY_TO: &str = "(in reply to ";

/// Octets of a host name with its address.
const LONGEST_FRAME: usize = 300;

fn push_folded(c: char, out: &mut String) {
    match c {
        '\u{2018}'..='\u{201b}' | '\u{b4}' | '\u{2032}' => out.push('\''),
        '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}' => out.push('"'),
        '\u{2010}'..='\u{2015}' => out.push('-'),
        // Marks left behind by decomposed letters, soft hyphens and zero-width characters carry no meaning here.
        '\u{300}'..='\u{36f}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{feff}' => {}
        _ => {
            for lower in c.to_lowercase() {
                match plain_latin(lower) {
                    Some(plain) => out.push_str(plain),
                    None => out.push(lower),
                }
            }
        }
    }
}

/// The letters of the Latin-1 Supplement and Latin Extended-A blocks without their accents.
fn plain_latin(c: char) -> Option<&'static str> {
    Some(match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ì' | 'í' | 'î' | 'ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => "i",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => "o",
        'œ' => "oe",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ß' => "ss",
        'ţ' | 'ť' | 'ț' => "t",
        'ù' | 'ú' | 'û' | 'ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        // Some capitals fall apart in lower case: "İ" becomes "i" and a dot above.
        '\u{300}'..='\u{36f}' => "",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_one_meaning_become_one() {
        for (text, folded) in [
            ("  User\tUnknown\r\n now ", "user unknown now"),
            ("Empfänger nicht GEFUNDEN", "empfanger nicht gefunden"),
            ("n’existe pas", "n'existe pas"),
            ("Skrzynka pełna", "skrzynka pelna"),
            ("ЯЩИК Переполнен", "ящик переполнен"),
            ("GEÇERSİZ ALICI", "gecersiz alici"),
            ("メールボックス　満杯", "メールボックス 満杯"),
        ] {
            assert_eq!(fold(text), folded);
        }
    }

    #[test]
    fn the_frame_is_taken_off() {
        for (framed, words) in [
            ("host mx.example.org[192.0.2.1] said: 550 no such user (in reply to rcpt to command)", "550 no such user"),
            ("<a@x>: host mx refused to talk to me: 554 no", "<a@x>: host mx refused to talk to me: 554 no"),
            ("550 no (in reply to", "550 no (in reply to"),
            ("he said: no", "he said: no"),
        ] {
            assert_eq!(unframe(framed.to_owned()), words);
        }
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,80}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
