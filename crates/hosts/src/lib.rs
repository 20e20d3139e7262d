//! The class library: services, processes and operations with their adapters.
//!
//! One file a class, one line of registration here. Classes know the engine's traits and the
//! transports; nothing below knows them. Shared by the HL7 classes: [`hl7`]; by the file classes:
//! [`file`].

#![forbid(unsafe_code)]

pub mod discard;
pub mod file;
pub mod hl7;
pub mod net;
pub mod passthrough;

use hie_engine::class::Registry;

/// Every class of this binary.
pub static REGISTRY: Registry = Registry::new(&[
    &hl7::tcp_service::CLASS,
    &hl7::file_service::CLASS,
    &file::service::CLASS,
    &hl7::routing_engine::CLASS,
    &passthrough::CLASS,
    &hl7::tcp_operation::CLASS,
    &hl7::file_operation::CLASS,
    &file::operation::CLASS,
    &discard::CLASS,
]);
