//! SQLite: what was seen, who failed, who is suppressed. Knows nothing of parsing.
