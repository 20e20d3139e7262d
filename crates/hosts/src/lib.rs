//! The class library: services, processes and operations with their adapters.
