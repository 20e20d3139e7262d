//! The HIE binary.
fn main() {}
