//! The only wiring: bytes -> Report -> Verdicts -> one transaction -> settle.
