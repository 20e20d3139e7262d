//! What the journal means: messages, sessions, queues to recover, index, search, retention.
