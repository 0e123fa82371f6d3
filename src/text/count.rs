//! Numbers as people read them in a sentence. Programs get theirs as they are.

/// `1234567` -> `1,234,567`
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1234`, `message` -> `1,234 messages`
#[must_use]
pub fn count(number: u64, one: &str) -> String {
    let ending = match (number, one.ends_with("ss")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {one}{ending}", grouped(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_agree_with_their_noun() {
        for (number, told) in
            [(0, "0 mails"), (1, "1 mail"), (999, "999 mails"), (1000, "1,000 mails"), (1_234_567, "1,234,567 mails")]
        {
            assert_eq!(count(number, "mail"), told);
        }
        assert_eq!((count(1, "address"), count(2, "address")), ("1 address".into(), "2 addresses".into()));
    }
}
