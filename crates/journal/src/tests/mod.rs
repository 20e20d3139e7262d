//! Tests of the log as a whole; what concerns one module stands there.

mod suite;
