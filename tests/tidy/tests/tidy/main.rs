//! The tidy test: rules of the house that the compiler does not hold.
//!
//! Each module below owns one family of rules and says in its own words why they exist. A broken
//! rule prints every place as `file:line: what is wrong; what to do`. This crate reads the tree and
//! `cargo metadata`; it builds nothing and depends on nothing of ours.

mod edges;
mod finding;
mod floors;
mod manifests;
mod metadata;
mod modules;
mod named_tests;
mod papers;
mod places;
mod rust_source;
mod spdx;
mod stubs;
mod supply;
mod tree;
