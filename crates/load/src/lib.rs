//! The instrument: load generator, receiver, null peers and the ledger that finds a lost message.
