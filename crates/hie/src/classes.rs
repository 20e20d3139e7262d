//! The classes that this binary knows: those of the class library, and Python classes.

use hie_engine::class::Registry;

/// Every class, and who is asked for more.
pub(crate) static REGISTRY: Registry =
    hie_hosts::REGISTRY.with_foreign(hie_worker::python::resolve);
