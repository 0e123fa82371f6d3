-- What we sent, so that a bounce of it can be told from what strangers write, and what the mail logs say became of it.

-- Since when our own mail can be told from what strangers write; there is one row then. The salt keeps hashes of Message-IDs
-- and recipients from being compared with those of anybody else.
CREATE TABLE vouching (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    since INTEGER NOT NULL,
    salt  BLOB    NOT NULL CHECK (length(salt) = 32)
) STRICT;

-- Keyed hashes of the Message-ID of each message that we sent, and of it together with each recipient.
CREATE TABLE sent (
    message   BLOB    NOT NULL CHECK (length(message) = 16),
    recipient BLOB    NOT NULL CHECK (length(recipient) = 16),
    at        INTEGER NOT NULL,
    delivered INTEGER NOT NULL CHECK (delivered IN (0, 1)),
    PRIMARY KEY (message, recipient)
) STRICT, WITHOUT ROWID;

-- [retention] finds by it what is old enough.
CREATE INDEX sent_by_time ON sent (at);

-- How many messages were sent on a day (UTC; the second in which it begins), and how many of these were delivered, failed for
-- good at once, or were not taken for now, by recipients.
CREATE TABLE sent_by_day (
    day       INTEGER NOT NULL,
    domain    TEXT    NOT NULL,
    provider  TEXT    NOT NULL,
    campaign  TEXT    NOT NULL,
    sent      INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    PRIMARY KEY (day, domain, provider, campaign)
) STRICT, WITHOUT ROWID;

-- How far each mail log is read, in the words of whoever reads it; and what it says of messages that are on their way.
CREATE TABLE mail_log (
    name    TEXT    NOT NULL PRIMARY KEY,
    cursor  TEXT    NOT NULL,
    lines   INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    read_at INTEGER NOT NULL,
    told_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE mail_log_queue (
    log      TEXT NOT NULL,
    queue_id TEXT NOT NULL,
    message  TEXT NOT NULL,
    PRIMARY KEY (log, queue_id)
) STRICT, WITHOUT ROWID;

-- Whether a mailbox or a mail log had told of the same failure before, so that it does not count.
ALTER TABLE bounce ADD COLUMN told_before INTEGER NOT NULL DEFAULT 0 CHECK (told_before IN (0, 1));

-- What is wrong with the mail that we send: raised once, and cleared once.
CREATE TABLE alarm (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT    NOT NULL CHECK (kind IN ('own_fault', 'hard_rate', 'burst', 'silent')),
    about   TEXT    NOT NULL,
    words   TEXT    NOT NULL,
    raised  INTEGER NOT NULL,
    cleared INTEGER
) STRICT;

CREATE UNIQUE INDEX alarm_open ON alarm (kind, about) WHERE cleared IS NULL;
