//! The long-running service: watches every mailbox until it is told to stop.
