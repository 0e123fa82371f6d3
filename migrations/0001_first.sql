-- The store: every message read, every recipient it reports on, who complained, the suppression list, and what happened
-- when.
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

CREATE INDEX message_by_place ON message (mailbox, place);

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

-- With all that the history of an address is made of, so that the rows themselves are not looked up.
CREATE INDEX bounce_by_address ON bounce (address, at, class, counts);
CREATE INDEX bounce_by_domain ON bounce (domain, at);
CREATE INDEX bounce_by_time ON bounce (at);
CREATE INDEX bounce_by_sender_fault ON bounce (at) WHERE fault = 'sender';

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
CREATE INDEX complaint_by_time ON complaint (at);

-- The entries in force, and nothing else. No foreign key, here and in held: each erased bounce would search the whole
-- table. A trigger finds the entry by the bounce's address.
CREATE TABLE suppression (
    address    TEXT    NOT NULL PRIMARY KEY,
    domain     TEXT    NOT NULL,
    origin     TEXT    NOT NULL CHECK (origin IN ('hard', 'soft', 'manual')),
    reason     TEXT,
    rule       TEXT,
    diagnostic TEXT,
    bounce     INTEGER,
    since      INTEGER NOT NULL,
    note       TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX suppression_by_time ON suppression (since);

-- Addresses that one message too many brought: not on the list before a person has approved them.
CREATE TABLE held (
    address    TEXT    NOT NULL PRIMARY KEY,
    domain     TEXT    NOT NULL,
    origin     TEXT    NOT NULL CHECK (origin IN ('hard', 'soft')),
    reason     TEXT,
    rule       TEXT,
    diagnostic TEXT,
    bounce     INTEGER,
    since      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened, in the order of the commits, written in the transaction that made it so. Followers read it by its
-- number. The event of a bounce or a complaint leads to its row and holds nothing else. No foreign key: each erased
-- bounce would search the whole table. 'held' is for addresses that wait for a person's word.
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

-- Places whose message is committed but perhaps not yet moved or flagged; where that failed, when and why, and when it
-- is tried again.
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

-- How many there are, so that nobody counts millions of rows. A commit adds a batch at once; triggers follow what is
-- corrected or erased later. scripts/recount.sql counts everything anew.

-- `newest`, `recorded` and `lag` tell of what was recorded last, whatever became of its row.
CREATE TABLE total_by_mailbox (
    mailbox  TEXT    NOT NULL PRIMARY KEY,
    messages INTEGER NOT NULL,
    bounces  INTEGER NOT NULL,
    newest   INTEGER,
    recorded INTEGER,
    lag      INTEGER
) STRICT, WITHOUT ROWID;

-- Failed recipients, here and below. `day` is the second in which it begins.
CREATE TABLE total_by_day (
    day     INTEGER NOT NULL,
    class   TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    fault   TEXT    NOT NULL,
    bounces INTEGER NOT NULL,
    PRIMARY KEY (day, class, reason, fault)
) STRICT, WITHOUT ROWID;

CREATE TABLE total_by_domain (
    domain       TEXT    NOT NULL PRIMARY KEY,
    bounces      INTEGER NOT NULL,
    hard         INTEGER NOT NULL,
    soft         INTEGER NOT NULL,
    bad_domain   INTEGER NOT NULL,
    sender_fault INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE total_by_campaign (
    campaign TEXT    NOT NULL,
    class    TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    bounces  INTEGER NOT NULL,
    PRIMARY KEY (campaign, class, reason)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER message_erased AFTER DELETE ON message BEGIN
    INSERT OR IGNORE INTO passed (mailbox, place) VALUES (OLD.mailbox, OLD.place);
    UPDATE total_by_mailbox SET messages = messages - 1, bounces = bounces - (OLD.kind = 'bounce')
    WHERE mailbox = OLD.mailbox;
END;

CREATE TRIGGER message_corrected AFTER UPDATE OF mailbox, kind ON message BEGIN
    UPDATE total_by_mailbox SET messages = messages - 1, bounces = bounces - (OLD.kind = 'bounce')
    WHERE mailbox = OLD.mailbox;
    INSERT INTO total_by_mailbox (mailbox, messages, bounces) VALUES (NEW.mailbox, 1, NEW.kind = 'bounce')
    ON CONFLICT (mailbox) DO UPDATE SET messages = messages + 1, bounces = bounces + excluded.bounces;
END;

-- An entry whose bounce is gone stays, and leads nowhere; who waits because of it waits no longer.
CREATE TRIGGER bounce_erased AFTER DELETE ON bounce BEGIN
    UPDATE suppression SET bounce = NULL WHERE address = OLD.address AND bounce = OLD.id;
    DELETE FROM held WHERE address = OLD.address AND bounce = OLD.id;
END;

-- The recipients that are counted. What is written here changes their totals and nothing else: `n` is 1 for one more,
-- and -1 for one less.
CREATE VIEW counted AS
SELECT at, domain, class, reason, fault, campaign, 1 AS n FROM bounce WHERE action = 'failed';

CREATE TRIGGER counted_written INSTEAD OF INSERT ON counted WHEN NEW.n <> 0 BEGIN
    INSERT INTO total_by_day (day, class, reason, fault, bounces)
    VALUES (NEW.at - NEW.at % 86400, NEW.class, NEW.reason, NEW.fault, NEW.n)
    ON CONFLICT (day, class, reason, fault) DO UPDATE SET bounces = bounces + excluded.bounces;
    DELETE FROM total_by_day
    WHERE day = NEW.at - NEW.at % 86400 AND class = NEW.class AND reason = NEW.reason AND fault = NEW.fault
      AND bounces <= 0;
    INSERT INTO total_by_domain (domain, bounces, hard, soft, bad_domain, sender_fault)
    SELECT NEW.domain, NEW.n, NEW.n * (NEW.class = 'hard'), NEW.n * (NEW.class = 'soft'),
           NEW.n * (NEW.reason = 'bad_domain'), NEW.n * (NEW.fault = 'sender')
    WHERE NEW.domain IS NOT NULL
    ON CONFLICT (domain) DO UPDATE SET bounces = bounces + excluded.bounces, hard = hard + excluded.hard,
        soft = soft + excluded.soft, bad_domain = bad_domain + excluded.bad_domain,
        sender_fault = sender_fault + excluded.sender_fault;
    DELETE FROM total_by_domain WHERE domain = NEW.domain AND bounces <= 0;
    INSERT INTO total_by_campaign (campaign, class, reason, bounces)
    SELECT NEW.campaign, NEW.class, NEW.reason, NEW.n WHERE NEW.campaign IS NOT NULL
    ON CONFLICT (campaign, class, reason) DO UPDATE SET bounces = bounces + excluded.bounces;
    DELETE FROM total_by_campaign
    WHERE campaign = NEW.campaign AND class = NEW.class AND reason = NEW.reason AND bounces <= 0;
END;

CREATE TRIGGER bounce_uncounted AFTER DELETE ON bounce BEGIN
    INSERT INTO counted (at, domain, class, reason, fault, campaign, n)
    VALUES (OLD.at, OLD.domain, OLD.class, OLD.reason, OLD.fault, OLD.campaign, -(OLD.action = 'failed'));
END;

CREATE TRIGGER bounce_corrected AFTER UPDATE OF action, domain, class, reason, fault, campaign, at ON bounce BEGIN
    INSERT INTO counted (at, domain, class, reason, fault, campaign, n)
    VALUES (OLD.at, OLD.domain, OLD.class, OLD.reason, OLD.fault, OLD.campaign, -(OLD.action = 'failed'));
    INSERT INTO counted (at, domain, class, reason, fault, campaign, n)
    VALUES (NEW.at, NEW.domain, NEW.class, NEW.reason, NEW.fault, NEW.campaign, NEW.action = 'failed');
END;

-- Each view has the integer that an index is by, `at`, beside the time that people read. LEFT JOIN: whoever asks for
-- none of the message's columns has none of its rows looked up.
CREATE VIEW hard_bounces AS
SELECT b.address, b.domain, b.reason, b.fault, b.status, b.reply, b.diagnostic, b.remote_mta, b.reporting_mta,
       b.original_message_id, b.campaign, b.list_id, b.rule,
       b.forwarded_to, b.forwarded_class, b.forwarded_reason, b.forwarded_fault,
       strftime('%Y-%m-%dT%H:%M:%SZ', b.at, 'unixepoch') AS time, b.at,
       m.mailbox, m.message_id, b.id AS bounce, b.message
FROM bounce AS b LEFT JOIN message AS m ON m.id = b.message
WHERE b.action = 'failed' AND b.class = 'hard';

CREATE VIEW soft_bounces AS
SELECT b.address, b.domain, b.reason, b.fault, b.status, b.reply, b.diagnostic, b.remote_mta, b.reporting_mta,
       b.original_message_id, b.campaign, b.list_id, b.rule,
       b.forwarded_to, b.forwarded_class, b.forwarded_reason, b.forwarded_fault,
       strftime('%Y-%m-%dT%H:%M:%SZ', b.at, 'unixepoch') AS time, b.at,
       m.mailbox, m.message_id, b.id AS bounce, b.message
FROM bounce AS b LEFT JOIN message AS m ON m.id = b.message
WHERE b.action = 'failed' AND b.class = 'soft';

CREATE VIEW complaints AS
SELECT c.address, c.domain, c.original_message_id, c.campaign, c.list_id, c.field, c.line, c.words,
       strftime('%Y-%m-%dT%H:%M:%SZ', c.at, 'unixepoch') AS time, c.at,
       m.mailbox, m.message_id, c.id AS complaint, c.message
FROM complaint AS c LEFT JOIN message AS m ON m.id = c.message;

CREATE VIEW suppression_list AS
SELECT s.address, s.domain, s.origin, s.reason,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.since, 'unixepoch') AS since, s.since AS at,
       s.note, s.rule, b.status, b.reply, s.diagnostic, b.field, b.line, b.words,
       b.lowered_from, b.lowered_line, b.lowered_words,
       b.forwarded_to, b.forwarded_class, b.forwarded_reason, b.forwarded_fault,
       strftime('%Y-%m-%dT%H:%M:%SZ', b.at, 'unixepoch') AS bounced,
       m.mailbox, m.place, m.message_id, s.bounce, b.message
FROM suppression AS s
LEFT JOIN bounce AS b ON b.id = s.bounce
LEFT JOIN message AS m ON m.id = b.message;

-- The times are looked up: a bounce that is erased takes its time with it, which no total could follow.
CREATE VIEW bounces_by_domain AS
SELECT d.domain, d.bounces, d.hard, d.soft, d.bad_domain, d.sender_fault,
       (SELECT strftime('%Y-%m-%dT%H:%M:%SZ', b.at, 'unixepoch') FROM bounce AS b
        WHERE b.domain = d.domain AND b.action = 'failed' ORDER BY b.at LIMIT 1) AS first,
       (SELECT strftime('%Y-%m-%dT%H:%M:%SZ', b.at, 'unixepoch') FROM bounce AS b
        WHERE b.domain = d.domain AND b.action = 'failed' ORDER BY b.at DESC LIMIT 1) AS last
FROM total_by_domain AS d;

CREATE VIEW bounces_by_reason AS
SELECT class, reason, fault,
       sum(bounces) AS bounces,
       date(min(day), 'unixepoch') AS first,
       date(max(day), 'unixepoch') AS last
FROM total_by_day
GROUP BY class, reason, fault;

CREATE VIEW bounces_by_day AS
SELECT date(day, 'unixepoch') AS day, day AS at, class, reason, fault, bounces FROM total_by_day;

CREATE VIEW bounces_by_campaign AS
SELECT campaign, class, reason, bounces FROM total_by_campaign;
