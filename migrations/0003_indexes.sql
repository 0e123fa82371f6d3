-- Who asks for a domain, or for what is old enough to be erased, goes along what he asks for and nothing else.

-- The addresses of a domain are found in their order: each entry of this index ends with the key of its row.
CREATE INDEX suppression_by_domain ON suppression (domain);
CREATE INDEX held_by_domain ON held (domain);

-- What was emptied is not looked at again.
CREATE INDEX complaint_with_words ON complaint (at) WHERE words <> '';
CREATE INDEX held_with_diagnostic ON held (since) WHERE diagnostic IS NOT NULL;

-- Whom nobody is to know any more, until all that is known of them is erased: what a process that was killed has left.
CREATE TABLE forgetting (
    address TEXT    NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
