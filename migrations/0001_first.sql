-- The store: every message read, every recipient it reports on, who complained, the suppression list, and what happened when.
-- Times are whole seconds since 1970-01-01 00:00 UTC; the views show them as ISO 8601 text in UTC.
-- docs/database.md explains every column.

-- Tells this store from any other, so that a published list knows whether it follows the right one.
CREATE TABLE store (id TEXT NOT NULL) STRICT;
INSERT INTO store (id) VALUES (lower(hex(randomblob(16))));

-- AUTOINCREMENT, here and below: the number of a row that was erased leads to no other row later.
CREATE TABLE message (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256       BLOB    NOT NULL UNIQUE CHECK (length(sha256) = 32),
    mailbox      TEXT    NOT NULL,
    place        TEXT    NOT NULL,
    message_id   TEXT,
    received     INTEGER NOT NULL,
    recorded     INTEGER NOT NULL DEFAULT (unixepoch()),
    kind         TEXT    NOT NULL
                 CHECK (kind IN ('bounce', 'delayed', 'delivered', 'auto_reply', 'complaint', 'not_bounce')),
    format       TEXT    NOT NULL,
    size         INTEGER NOT NULL,
    left_out     INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX message_by_mailbox ON message (mailbox, kind, received);
CREATE INDEX message_by_place ON message (mailbox, place);
CREATE INDEX message_by_message_id ON message (message_id) WHERE message_id IS NOT NULL;

CREATE TABLE bounce (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    message             INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    position            INTEGER NOT NULL,
    action              TEXT    NOT NULL
                        CHECK (action IN ('failed', 'delayed', 'delivered', 'relayed', 'expanded')),
    address_given       TEXT,
    address             TEXT,
    domain              TEXT,
    class               TEXT    NOT NULL CHECK (class IN ('hard', 'soft', 'success')),
    reason              TEXT    NOT NULL,
    fault               TEXT    NOT NULL
                        CHECK (fault IN ('recipient', 'sender', 'content', 'network', 'unknown')),
    counts              INTEGER NOT NULL CHECK (counts IN (0, 1)),
    status              TEXT,
    reply               INTEGER CHECK (reply BETWEEN 200 AND 599),
    diagnostic          TEXT,
    remote_mta          TEXT,
    reporting_mta       TEXT,
    original_message_id TEXT,
    campaign            TEXT,
    list_id             TEXT,
    rule                TEXT    NOT NULL,
    field               TEXT,
    line                INTEGER,
    words               TEXT,
    lowered_from        TEXT    CHECK (lowered_from IN ('hard', 'soft', 'success')),
    lowered_line        INTEGER,
    lowered_words       TEXT,
    forwarded_to        TEXT,
    forwarded_class     TEXT    CHECK (forwarded_class IN ('hard', 'soft', 'success')),
    forwarded_reason    TEXT,
    forwarded_fault     TEXT,
    conflict            INTEGER NOT NULL CHECK (conflict IN (0, 1)),
    at                  INTEGER NOT NULL,
    UNIQUE (message, position)
) STRICT;

CREATE INDEX bounce_by_address ON bounce (address, at);
CREATE INDEX bounce_by_domain ON bounce (domain, at);
CREATE INDEX bounce_by_time ON bounce (at);

-- Who complained of a message. No bounce: nothing is wrong with the mailbox.
CREATE TABLE complaint (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    message             INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    position            INTEGER NOT NULL,
    address_given       TEXT    NOT NULL,
    address             TEXT    NOT NULL,
    domain              TEXT    NOT NULL,
    original_message_id TEXT,
    campaign            TEXT,
    list_id             TEXT,
    field               TEXT    NOT NULL,
    line                INTEGER,
    words               TEXT    NOT NULL,
    at                  INTEGER NOT NULL,
    UNIQUE (message, position)
) STRICT;

CREATE INDEX complaint_by_address ON complaint (address, at);

-- The entries in force, and nothing else.
CREATE TABLE suppression (
    address    TEXT    NOT NULL PRIMARY KEY,
    domain     TEXT    NOT NULL,
    origin     TEXT    NOT NULL CHECK (origin IN ('hard', 'soft', 'manual')),
    reason     TEXT,
    rule       TEXT,
    diagnostic TEXT,
    bounce     INTEGER REFERENCES bounce (id) ON DELETE SET NULL,
    since      INTEGER NOT NULL,
    note       TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX suppression_by_bounce ON suppression (bounce) WHERE bounce IS NOT NULL;

-- Addresses that one message too many brought: not on the list before a person has approved them.
CREATE TABLE held (
    address    TEXT    NOT NULL PRIMARY KEY,
    domain     TEXT    NOT NULL,
    origin     TEXT    NOT NULL CHECK (origin IN ('hard', 'soft')),
    reason     TEXT,
    rule       TEXT,
    diagnostic TEXT,
    bounce     INTEGER REFERENCES bounce (id) ON DELETE CASCADE,
    since      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened, in the order of the commits, written in the transaction that made it so. Followers read it by its
-- number. The event of a bounce or a complaint leads to its row and holds nothing else. No foreign key: each erased bounce
-- would search the whole table. 'held' is for addresses that wait for a person's word.
CREATE TABLE event (
    revision  INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    kind      TEXT    NOT NULL CHECK (kind IN ('bounce', 'complaint', 'suppressed', 'released', 'held')),
    address   TEXT,
    origin    TEXT    CHECK (origin IN ('hard', 'soft', 'manual')),
    bounce    INTEGER,
    complaint INTEGER,
    note      TEXT,
    CHECK ((kind IN ('bounce', 'complaint')) = (address IS NULL))
) STRICT;

-- Old bounces must not put an address back that a person took off the list.
CREATE INDEX event_by_release ON event (address, at) WHERE kind = 'released';

-- Only the source that wrote a place or a position reads it; to everybody else it is text.
CREATE TABLE cursor (
    mailbox     TEXT    NOT NULL PRIMARY KEY,
    position    TEXT,
    read_at     INTEGER,
    read_uptime INTEGER,
    failed_at   INTEGER,
    failure     TEXT,
    failures    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Places whose message is committed but perhaps not yet moved or flagged; where that failed, when and why, and when it is
-- tried again.
CREATE TABLE unsettled (
    mailbox      TEXT    NOT NULL,
    place        TEXT    NOT NULL,
    disposition  TEXT    NOT NULL CHECK (disposition IN ('processed', 'untouched')),
    first_failed INTEGER,
    tries        INTEGER NOT NULL DEFAULT 0,
    next_try     INTEGER NOT NULL DEFAULT 0,
    why          TEXT,
    PRIMARY KEY (mailbox, place)
) STRICT, WITHOUT ROWID;

-- Places whose message is there and could not be read yet. The cursor may be beyond them.
CREATE TABLE pending (
    mailbox      TEXT    NOT NULL,
    place        TEXT    NOT NULL,
    first_failed INTEGER NOT NULL,
    tries        INTEGER NOT NULL,
    next_try     INTEGER NOT NULL,
    why          TEXT    NOT NULL,
    acknowledged INTEGER NOT NULL DEFAULT 0 CHECK (acknowledged IN (0, 1)),
    PRIMARY KEY (mailbox, place)
) STRICT, WITHOUT ROWID;

-- Messages that are being read and judged right now: what stands here at a start killed the process, or was read beside
-- what did. `deaths` counts those over a message that was read alone.
CREATE TABLE attempt (
    mailbox   TEXT    NOT NULL,
    place     TEXT    NOT NULL,
    under_way INTEGER NOT NULL CHECK (under_way IN (0, 1)),
    deaths    INTEGER NOT NULL,
    PRIMARY KEY (mailbox, place)
) STRICT, WITHOUT ROWID;

-- Places that need no second look although no row of message names them: equal messages were recorded before, or the
-- rows were erased.
CREATE TABLE passed (
    mailbox TEXT NOT NULL,
    place   TEXT NOT NULL,
    PRIMARY KEY (mailbox, place)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER message_erased AFTER DELETE ON message BEGIN
    INSERT OR IGNORE INTO passed (mailbox, place) VALUES (OLD.mailbox, OLD.place);
END;

CREATE VIEW hard_bounces AS
SELECT b.address, b.domain, b.reason, b.fault, b.status, b.reply, b.diagnostic, b.remote_mta, b.reporting_mta,
       b.original_message_id, b.campaign, b.list_id, b.rule,
       b.forwarded_to, b.forwarded_class, b.forwarded_reason, b.forwarded_fault,
       strftime('%Y-%m-%dT%H:%M:%SZ', b.at, 'unixepoch') AS time,
       m.mailbox, m.message_id, b.id AS bounce, m.id AS message
FROM bounce AS b JOIN message AS m ON m.id = b.message
WHERE b.action = 'failed' AND b.class = 'hard';

CREATE VIEW soft_bounces AS
SELECT b.address, b.domain, b.reason, b.fault, b.status, b.reply, b.diagnostic, b.remote_mta, b.reporting_mta,
       b.original_message_id, b.campaign, b.list_id, b.rule,
       b.forwarded_to, b.forwarded_class, b.forwarded_reason, b.forwarded_fault,
       strftime('%Y-%m-%dT%H:%M:%SZ', b.at, 'unixepoch') AS time,
       m.mailbox, m.message_id, b.id AS bounce, m.id AS message
FROM bounce AS b JOIN message AS m ON m.id = b.message
WHERE b.action = 'failed' AND b.class = 'soft';

CREATE VIEW complaints AS
SELECT c.address, c.domain, c.original_message_id, c.campaign, c.list_id, c.field, c.line, c.words,
       strftime('%Y-%m-%dT%H:%M:%SZ', c.at, 'unixepoch') AS time,
       m.mailbox, m.message_id, c.id AS complaint, m.id AS message
FROM complaint AS c JOIN message AS m ON m.id = c.message;

CREATE VIEW suppression_list AS
SELECT s.address, s.domain, s.origin, s.reason,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.since, 'unixepoch') AS since,
       s.note, s.rule, b.status, b.reply, s.diagnostic, b.field, b.line, b.words,
       b.lowered_from, b.lowered_line, b.lowered_words,
       b.forwarded_to, b.forwarded_class, b.forwarded_reason, b.forwarded_fault,
       strftime('%Y-%m-%dT%H:%M:%SZ', b.at, 'unixepoch') AS bounced,
       m.mailbox, m.place, m.message_id, s.bounce, b.message
FROM suppression AS s
LEFT JOIN bounce AS b ON b.id = s.bounce
LEFT JOIN message AS m ON m.id = b.message;

CREATE VIEW bounces_by_domain AS
SELECT domain,
       count(*) AS bounces,
       sum(class = 'hard') AS hard,
       sum(class = 'soft') AS soft,
       count(DISTINCT address) AS addresses,
       strftime('%Y-%m-%dT%H:%M:%SZ', min(at), 'unixepoch') AS first,
       strftime('%Y-%m-%dT%H:%M:%SZ', max(at), 'unixepoch') AS last
FROM bounce WHERE action = 'failed' AND domain IS NOT NULL
GROUP BY domain;

CREATE VIEW bounces_by_reason AS
SELECT class, reason, fault,
       count(*) AS bounces,
       count(DISTINCT address) AS addresses,
       count(DISTINCT domain) AS domains,
       strftime('%Y-%m-%dT%H:%M:%SZ', min(at), 'unixepoch') AS first,
       strftime('%Y-%m-%dT%H:%M:%SZ', max(at), 'unixepoch') AS last
FROM bounce WHERE action = 'failed'
GROUP BY class, reason, fault;
