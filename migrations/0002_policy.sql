-- A policy of rules, entries that expire, signs of life, an allow list, the brake, and a history that nobody can lose.
-- The tables that get other checks are made anew; their rows and numbers stay.

DROP VIEW suppression_list;
DROP TRIGGER bounce_erased;

-- By which tables a verdict was given, and what no other column holds of the evidence, so that it can be judged again.
CREATE TABLE tables (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    digest     TEXT    NOT NULL UNIQUE,
    version    TEXT    NOT NULL,
    first_used INTEGER NOT NULL
) STRICT;

ALTER TABLE bounce ADD COLUMN tables INTEGER;
ALTER TABLE bounce ADD COLUMN evidence TEXT;

-- How far each can be believed.
ALTER TABLE bounce ADD COLUMN trust TEXT NOT NULL DEFAULT 'unverified'
    CHECK (trust IN ('unverified', 'local', 'matched', 'verified'));
ALTER TABLE complaint ADD COLUMN trust TEXT NOT NULL DEFAULT 'unverified'
    CHECK (trust IN ('unverified', 'local', 'matched', 'verified'));

-- With all that the history of an address is made of, so that the rows themselves are not looked up.
DROP INDEX bounce_by_address;
CREATE INDEX bounce_by_address ON bounce (address, at, counts, class, reason, fault, trust);

-- [retention] finds what is old enough by these, and looks at nothing that stays.
CREATE INDEX message_by_time ON message (received);
CREATE INDEX bounce_with_text ON bounce (at) WHERE diagnostic IS NOT NULL OR words IS NOT NULL OR evidence IS NOT NULL;

CREATE TABLE event_new (
    revision  INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    kind      TEXT    NOT NULL CHECK (kind IN ('bounce', 'complaint', 'suppressed', 'released', 'expired', 'revived',
                                               'corrected', 'held', 'rejected', 'allowed', 'disallowed', 'forgotten')),
    address   TEXT,
    origin    TEXT    CHECK (origin IN ('complaint', 'hard', 'soft', 'manual', 'import')),
    bounce    INTEGER,
    complaint INTEGER,
    -- What follows is NULL in the many rows of bounces and complaints.
    recorded  INTEGER,
    reason    TEXT,
    policy    TEXT,
    expires   INTEGER,
    causes    TEXT,
    before    INTEGER,
    actor     TEXT,
    note      TEXT,
    CHECK ((kind IN ('bounce', 'complaint', 'forgotten')) = (address IS NULL))
) STRICT;

INSERT INTO event_new (revision, at, kind, address, origin, bounce, complaint, note)
SELECT revision, at, iif(kind = 'released' AND note = 'rejected', 'rejected', kind), address, origin, bounce, complaint,
       note
FROM event;

-- Who did what was not noted.
UPDATE event_new SET before = b.before
FROM (SELECT revision, lag(revision) OVER (PARTITION BY address ORDER BY revision) AS before
      FROM event_new WHERE address IS NOT NULL) AS b
WHERE event_new.revision = b.revision AND b.before IS NOT NULL;

UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'event')
WHERE name = 'event_new' AND EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'event');

DROP TABLE event;
ALTER TABLE event_new RENAME TO event;

-- Whatever ended an entry, or what a person said beforehand. The events that made one are found from there, and from the
-- entry, by `before`: so the many first ones need no row here.
CREATE INDEX event_by_address ON event (address, kind, at) WHERE address IS NOT NULL AND kind <> 'suppressed';

CREATE TABLE suppression_new (
    address    TEXT    NOT NULL PRIMARY KEY,
    domain     TEXT    NOT NULL,
    origin     TEXT    NOT NULL CHECK (origin IN ('complaint', 'hard', 'soft', 'manual', 'import')),
    reason     TEXT,
    rule       TEXT,
    policy     TEXT,
    diagnostic TEXT,
    bounce     INTEGER,
    complaint  INTEGER,
    remote     TEXT,
    since      INTEGER NOT NULL,
    expires    INTEGER,
    revision   INTEGER,
    note       TEXT
) STRICT, WITHOUT ROWID;

INSERT INTO suppression_new (address, domain, origin, reason, rule, diagnostic, bounce, since, note, revision)
SELECT s.address, s.domain, s.origin, s.reason, s.rule, s.diagnostic, s.bounce, s.since, s.note, e.revision
FROM suppression AS s
LEFT JOIN (SELECT address, max(revision) AS revision FROM event WHERE kind = 'suppressed' GROUP BY address) AS e
       ON e.address = s.address
ORDER BY s.address;

DROP TABLE suppression;
ALTER TABLE suppression_new RENAME TO suppression;
CREATE INDEX suppression_by_time ON suppression (since);
CREATE INDEX suppression_by_expiry ON suppression (expires) WHERE expires IS NOT NULL;

-- What waits for a person: addresses that one message too many brought ('flood'), or one remote too fast ('outage'), or of
-- which anybody may have written ('unverified'), and who is suppressed for good and shows signs of life ('alive').
CREATE TABLE held_new (
    address    TEXT    NOT NULL PRIMARY KEY,
    domain     TEXT    NOT NULL,
    why        TEXT    NOT NULL CHECK (why IN ('flood', 'outage', 'alive', 'unverified')),
    origin     TEXT    NOT NULL CHECK (origin IN ('complaint', 'hard', 'soft', 'manual', 'import')),
    reason     TEXT,
    rule       TEXT,
    policy     TEXT,
    diagnostic TEXT,
    bounce     INTEGER,
    complaint  INTEGER,
    message    INTEGER,
    remote     TEXT,
    since      INTEGER NOT NULL,
    expires    INTEGER,
    revision   INTEGER,
    note       TEXT
) STRICT, WITHOUT ROWID;

INSERT INTO held_new (address, domain, why, origin, reason, rule, diagnostic, bounce, message, since, revision)
SELECT h.address, h.domain, 'flood', h.origin, h.reason, h.rule, h.diagnostic, h.bounce, b.message, h.since, e.revision
FROM held AS h
LEFT JOIN bounce AS b ON b.id = h.bounce
LEFT JOIN (SELECT address, max(revision) AS revision FROM event WHERE kind = 'held' GROUP BY address) AS e
       ON e.address = h.address
ORDER BY h.address;

DROP TABLE held;
ALTER TABLE held_new RENAME TO held;

-- The last sign of life of an address of which something is known.
CREATE TABLE alive (
    address TEXT    NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    sign    TEXT    NOT NULL CHECK (sign IN ('delivered', 'auto_reply', 'own_mail', 'told')),
    message INTEGER
) STRICT, WITHOUT ROWID;

-- Whom nothing but a person's word suppresses: addresses, and `*@domain`.
CREATE TABLE allowed (
    address TEXT    NOT NULL PRIMARY KEY,
    domain  TEXT    NOT NULL,
    since   INTEGER NOT NULL,
    actor   TEXT,
    note    TEXT
) STRICT, WITHOUT ROWID;

-- How many addresses a remote newly called dead in an hour, by the time of arrival; how many of these the brake took, and
-- nothing has shown to be dead since; and how many it took that were found dead later. `hour` is the second in which it
-- begins. The remote '' is all of them together.
CREATE TABLE dead_by_hour (
    remote    TEXT    NOT NULL,
    hour      INTEGER NOT NULL,
    dead      INTEGER NOT NULL,
    held      INTEGER NOT NULL,
    confirmed INTEGER NOT NULL,
    PRIMARY KEY (remote, hour)
) STRICT, WITHOUT ROWID;

-- Keyed hashes of the addresses of those who asked to be forgotten.
CREATE TABLE forgotten (
    hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    at         INTEGER NOT NULL,
    suppressed INTEGER NOT NULL CHECK (suppressed IN (0, 1))
) STRICT, WITHOUT ROWID;

-- An entry whose bounce is gone stays, and leads nowhere; who waits to come onto the list because of it waits no longer.
CREATE TRIGGER bounce_erased AFTER DELETE ON bounce BEGIN
    UPDATE suppression SET bounce = NULL WHERE address = OLD.address AND bounce = OLD.id;
    DELETE FROM held WHERE address = OLD.address AND bounce = OLD.id AND why <> 'alive';
END;

CREATE VIEW suppression_list AS
SELECT s.address, s.domain, s.origin, s.reason,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.since, 'unixepoch') AS since, s.since AS at,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.expires, 'unixepoch') AS expires, s.policy,
       s.note, s.rule, b.status, b.reply, s.diagnostic, b.field, b.line, b.words,
       b.lowered_from, b.lowered_line, b.lowered_words,
       b.forwarded_to, b.forwarded_class, b.forwarded_reason, b.forwarded_fault,
       strftime('%Y-%m-%dT%H:%M:%SZ', b.at, 'unixepoch') AS bounced,
       m.mailbox, m.place, m.message_id, s.bounce, b.message
FROM suppression AS s
LEFT JOIN bounce AS b ON b.id = s.bounce
LEFT JOIN message AS m ON m.id = b.message;
