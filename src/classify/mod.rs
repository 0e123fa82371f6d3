//! Report + tables -> Verdict. Knows nothing of MIME, mailboxes or databases.
