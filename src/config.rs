//! Configuration: defaults in code, then a TOML file, then BOUNCED__ environment variables.
