-- Whom nobody vouched for is asked about again when it becomes known what we sent; a signed envelope sender speaks once; and
-- one failure of which several reports tell counts once, in figures as on the list.

-- What was read before it was known whether we had sent the message of which it speaks, so that nobody searches all bounces
-- when a log tells it. `row` is one of bounce, complaint or, of a sign of life, message; only signs name their `address`, and
-- only where something is known of it. `recipient` is the hash that `sent` has. From `due` on it is asked whether the message
-- went to nobody else; NULL while it is not known to have been sent at all.
CREATE TABLE doubted (
    message_id TEXT    NOT NULL,
    recipient  BLOB    NOT NULL CHECK (length(recipient) = 16),
    kind       TEXT    NOT NULL CHECK (kind IN ('bounce', 'complaint', 'auto_reply', 'own_mail')),
    row        INTEGER NOT NULL,
    address    TEXT,
    at         INTEGER NOT NULL,
    due        INTEGER,
    PRIMARY KEY (message_id, recipient, kind, row)
) STRICT, WITHOUT ROWID;

CREATE INDEX doubted_by_time ON doubted (at);
CREATE INDEX doubted_by_due ON doubted (due) WHERE due IS NOT NULL;
CREATE INDEX doubted_by_address ON doubted (address) WHERE address IS NOT NULL;

-- A message that has not left our mail server may still go to others.
CREATE INDEX mail_log_queue_by_message_id
    ON mail_log_queue (iif(json_valid(message), message ->> '$.message_id', NULL));

-- Tokens of envelope senders that we signed, as SHA-256, for the worst that was said by each, and by which mail. What says no
-- worse is said by a token that was used. `until` is when it expires.
CREATE TABLE used_token (
    token  BLOB    NOT NULL PRIMARY KEY CHECK (length(token) = 32),
    origin TEXT    NOT NULL CHECK (origin IN ('soft', 'hard', 'complaint')),
    mail   BLOB    NOT NULL CHECK (length(mail) = 32),
    until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX used_token_by_end ON used_token (until);

-- What another report has told of is counted with that; 0008 has the triggers that see to it from then on.
INSERT INTO counted (at, domain, class, reason, fault, campaign, n)
SELECT at, domain, class, reason, fault, campaign, -1 FROM bounce
WHERE EXISTS (SELECT 1 FROM mail_log) AND told_before = 1 AND action = 'failed';
