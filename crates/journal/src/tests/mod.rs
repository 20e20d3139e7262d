//! Tests of the log as a whole; what concerns one module stands there.

mod crash;
mod damage;
mod faults;
mod mend;
mod suite;
