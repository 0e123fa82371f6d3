-- The published list: what mail servers read. docs/database.md documents it for them.
-- NOCASE, so that a look-up need not fold the case of an ASCII address first.
CREATE TABLE IF NOT EXISTS suppression (
    email  TEXT    NOT NULL PRIMARY KEY COLLATE NOCASE,
    origin TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which store the list follows, and up to which of its changes.
CREATE TABLE IF NOT EXISTS following (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    store    TEXT    NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO following (one, store, revision) VALUES (1, '', 0);
