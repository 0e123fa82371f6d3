//! The text of a mail -> where a message begins in it that a person quotes, forwards or answers: behind the line that
//! mail programs put above it, or at the few fields that they show of its header. Refuses to know what that message is.

use super::{
    fields::field,
    words::{Role, Words},
};
use crate::text::{fold, split_lines};

/// Where in a text the passed-on message begins. Linear in the length of the text.
pub(super) fn begins_at(text: &str, words: &Words) -> Option<usize> {
    let mut offset = 0;
    let mut run = Run::default();
    for line in split_lines(text) {
        if is_separator(line, words) {
            return Some(offset + line.len());
        }
        match field_name(line) {
            Some(name) => {
                run.add(offset, &name, words);
                if run.is_heading() {
                    return Some(run.begins);
                }
            }
            // Outlook for the Mac puts blank lines between them; long fields are folded.
            None if line.trim().is_empty() || line.starts_with([' ', '\t']) => {}
            None => run = Run::default(),
        }
        offset += line.len();
    }
    None
}

/// `-----Original Message-----`, `Begin forwarded message:`, `----- Forwarded by Anna on Monday -----`, `On Monday Anna
/// Lee wrote:`.
fn is_separator(line: &str, words: &Words) -> bool {
    let ruled = |c: char| matches!(c, '-' | '_' | '=' | '*' | '‐' | '–' | '—' | '─');
    let line = line.trim().trim_start_matches('*');
    let name = line.trim_start_matches(|c: char| ruled(c) || c.is_whitespace());
    let leads_over = line.trim_end_matches('*').ends_with([':', '：']);
    if !(leads_over || line.starts_with(ruled)) || name.len() > LONGEST {
        return false;
    }
    let name = fold(name);
    words.have(Role::PassesOn, name.as_str()) || (leads_over && words.have(Role::Attributes, name.as_str()))
}

/// In octets: a line that mail programs write, with a name in it.
const LONGEST: usize = 200;

/// The name of a field as mail programs show it: in any language, perhaps bold, perhaps with a blank behind it.
fn field_name(line: &str) -> Option<String> {
    let (name, _) = field(line)?;
    let name = name.trim_matches(|c: char| c.is_whitespace() || c == '*');
    (!name.is_empty() && name.len() <= LONGEST_NAME).then(|| fold(name).as_str().to_owned())
}

/// In octets.
const LONGEST_NAME: usize = 40;

/// Fields that stand one below the other.
#[derive(Default)]
struct Run {
    begins: usize,
    fields: usize,
    from: bool,
    subject: bool,
}

impl Run {
    fn add(&mut self, offset: usize, name: &str, words: &Words) {
        // A program's own summary names the commands of its dialogue, too.
        if matches!(name, "mail from" | "rcpt to") {
            *self = Self::default();
            return;
        }
        if self.fields == 0 {
            self.begins = offset;
        }
        self.fields += 1;
        self.from |= words.have(Role::NamesOther, name);
        self.subject |= words.have(Role::NamesSubject, name);
    }

    /// Whom it is from, what it is about, and when or to whom it was sent.
    const fn is_heading(&self) -> bool {
        self.fields >= 3 && self.from && self.subject
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(text: &str) -> &str {
        begins_at(text, &Words::embedded()).map_or(text, |at| &text[..at])
    }

    #[test]
    fn what_is_passed_on_begins_where_the_mail_program_says() {
        for heading in [
            "---------- Forwarded message ---------\n",
            "-----Original Message-----\n",
            "Begin forwarded message:\n",
            "----- Forwarded message from Anna Lee <anna@example.org> -----\n",
            "----- Forwarded by Anna Lee/Example on 03.05.2027 10:00 -----\n",
            "‐‐‐‐‐‐‐ Original Message ‐‐‐‐‐‐‐\n",
            "-------- Weitergeleitete Nachricht --------\n",
            "Anfang der weitergeleiteten Nachricht:\n",
            "-----Ursprüngliche Nachricht-----\n",
            "-----Original-Nachricht-----\n",
            "---------- Message transféré ----------\n",
            "Début du message réexpédié :\n",
            "-----Message d’origine-----\n",
            "-----Mensaje original-----\n",
            "Inizio messaggio inoltrato:\n",
            "---------- Mensagem encaminhada ----------\n",
            "-----Oorspronkelijk bericht-----\n",
            "---------- Wiadomość przekazana dalej ----------\n",
            "-------- Přeposlaná zpráva --------\n",
            "-------- Пересылаемое сообщение --------\n",
            "-----原始邮件-----\n",
            "---------- 転送されたメッセージ ----------\n",
            "---------- 전달된 메일 ----------\n",
            "On Mon, 3 May 2027 at 10:00, Mail Delivery System <mailer-daemon@mx.example.org> wrote:\n",
            "Am 03.05.27 um 10:00 schrieb Mail Delivery System:\n",
            "Le lun. 3 mai 2027 à 10:00, Mail Delivery System a écrit :\n",
            "El lun, 3 may 2027 a las 10:00, Mail Delivery System escribió:\n",
            "03.05.2027 10:00, Mail Delivery System пишет:\n",
            "在 2027年5月3日，Mail Delivery System 写道：\n",
        ] {
            let text = format!("What is this?\n\n{heading}Final-Recipient: rfc822; bob@example.com\n");
            assert_eq!(own(&text), format!("What is this?\n\n{heading}"));
        }
    }

    #[test]
    fn a_shown_header_is_known_in_any_language() {
        for header in [
            "From: Mail Delivery System\nSent: Monday, May 3, 2027 10:00 AM\nTo: Anna\nSubject: Undelivered\n",
            "*From:* Mail Delivery System\n*Sent:* Monday\n*Subject:* Undelivered\n",
            "Von: Microsoft Outlook\nGesendet: Montag, 3. Mai 2027 10:00\nAn: Anna\nBetreff: Unzustellbar\n",
            "Gesendet: Montag, 3. Mai 2027 um 10:00\nVon: Postamt\nAn: Anna\nBetreff: Unzustellbar\n",
            "De : Postmaster\nEnvoyé : lundi 3 mai 2027\nÀ : Anna\nObjet : Non remis\n",
            "De: Postmaster\nEnviado el: lunes\nPara: Anna\nAsunto: No se puede entregar\n",
            "Da: Postmaster\nInviato: lunedì\nA: Anna\nOggetto: Non recapitabile\n",
            "Från: Postmaster\nSkickat: den 3 maj\nTill: Anna\nÄmne: Ej levererat\n",
            "От: Postmaster\nОтправлено: понедельник\nКому: Anna\nТема: Недоставленное\n",
            "发件人: Postmaster\n发送时间: 2027年5月3日\n收件人: Anna\n主题: 退信\n",
            "差出人: Postmaster\n送信日時: 2027年5月3日\n宛先: Anna\n件名: 配信不能\n",
        ] {
            assert_eq!(own(&format!("What is this?\n\n{header}\nUser unknown\n")), "What is this?\n\n", "{header}");
        }
    }

    #[test]
    fn ordinary_words_pass_nothing_on() {
        for text in [
            "The original message was received at noon.\n\nReason: full\nStatus: 5.2.2\nAction: failed\n",
            "Forwarded messages are not read here.\n",
            "Subject: Invoice\nTo: bob@example.com\nwas not delivered\n",
            "Subject: Invoice\nSent date: Monday\nMAIL FROM: anna@example.org\nRCPT TO: bob@example.com\n",
            "Note: we moved.\nPlease write:\nanna@example.org\n",
        ] {
            assert_eq!(own(text), text);
        }
    }
}
