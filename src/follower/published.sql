-- The published list: what mail servers read. docs/database.md documents it for them.
-- NOCASE, so that a look-up need not fold the case of an ASCII address first.
CREATE TABLE IF NOT EXISTS suppression (
    email  TEXT    NOT NULL PRIMARY KEY COLLATE NOCASE,
    origin TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which store the list follows, up to which of its changes, and in which start of the machine all of it was last known
-- to be right; empty where it is to be compared.
CREATE TABLE IF NOT EXISTS following (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    store    TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    boot     TEXT    NOT NULL
) STRICT;
INSERT OR IGNORE INTO following (one, store, revision, boot) VALUES (1, '', 0, '');
