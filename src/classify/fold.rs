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

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,80}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
