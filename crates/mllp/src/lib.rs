//! MLLP: frames on a stream, in the clear or over TLS.
