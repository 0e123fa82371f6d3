-- Which daemon reads a mailbox or a mail log, so that of several on one database one reads each: docs/operations.md.

-- Who has a lease renews it; where `renewals` stands still for long another daemon takes it, and `token` rises. What the
-- former one commits after that is refused. `owner` is NULL once it was given back. `holds_lock`: its daemon has
-- locked bounced.db.lock, so that whoever gets that lock knows that it is dead.
CREATE TABLE lease (
    mailbox        TEXT    NOT NULL PRIMARY KEY,
    token          INTEGER NOT NULL,
    owner          TEXT,
    daemon         TEXT    NOT NULL,
    holds_lock     INTEGER NOT NULL CHECK (holds_lock IN (0, 1)),
    renewals       INTEGER NOT NULL,
    renewed_at     INTEGER NOT NULL,
    renewed_uptime INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Daemons that wait for a lease, as people see them; nothing is decided by it.
CREATE TABLE standby (
    mailbox     TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    daemon      TEXT    NOT NULL,
    since       INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    seen_uptime INTEGER NOT NULL,
    PRIMARY KEY (mailbox, owner)
) STRICT, WITHOUT ROWID;

-- When the next attempt follows one that failed, and whether it waits for a person.
ALTER TABLE cursor ADD COLUMN next_try INTEGER;
ALTER TABLE cursor ADD COLUMN needs_person INTEGER NOT NULL DEFAULT 0 CHECK (needs_person IN (0, 1));
