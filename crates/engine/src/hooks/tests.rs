//! What configured hooks say of a message.
