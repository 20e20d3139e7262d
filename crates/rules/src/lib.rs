//! Expressions over messages and the routing rules built from them.
