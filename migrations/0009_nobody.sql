-- Messages that look like reports and name nobody, so that a person can look at them, and they can be read again by other tables
-- (`bounced unrecognised`, `bounced retry --unrecognised`). Of what was recorded before this it is not known: what names nobody now may
-- have named somebody who was erased.
ALTER TABLE message ADD COLUMN names_nobody INTEGER NOT NULL DEFAULT 0 CHECK (names_nobody IN (0, 1));

CREATE INDEX message_of_nobody ON message (names_nobody, mailbox, received) WHERE names_nobody = 1;
