# The few commands of a developer. CI calls the same scripts.

# List them.
default:
    @just --list

# See it work on a private Dovecot; Ctrl-C ends it.
demo *args:
    scripts/demo {{args}}

# The whole suite, with the servers it needs.
test *args:
    scripts/test {{args}}

# Formatting and lints, as CI sees them.
lint:
    git ls-files '*.rs' | xargs rustfmt --edition 2024 --check
    cargo clippy --locked --all-targets -- -D warnings

# Parsing, classifying and storing: messages and megabytes a second.
bench *args:
    cargo bench --locked {{args}}

# The instructions that judging a mail takes, beside those that are kept.
instructions *args:
    scripts/instructions {{args}}

# Draining a mailbox over IMAP: messages a second and peak memory.
bench-imap *args:
    scripts/bench-imap {{args}}

# A database of ten million bounces: what every query and command takes.
bench-large *args:
    scripts/bench-large {{args}}

# Everything goes wrong at once for some minutes, and the books must balance.
soak *args:
    scripts/soak {{args}}

# Accuracy on labelled mail beside this checkout.
score *args:
    scripts/score {{args}}

# Breaks what decides in one place after the other, and tells which break no test notices; takes long, can be resumed.
mutants *args:
    scripts/mutants {{args}}

# Licences, advisories and duplicates of the dependencies (needs cargo-deny).
deny:
    cargo deny check

# Everything that CI does.
ci:
    .ci/run
