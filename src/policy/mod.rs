//! Verdicts + history -> who is suppressed. Pure: time and history come in as arguments.
