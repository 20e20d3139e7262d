//! The HL7 v2 classes, and what they share: answers to senders and the meaning of replies.

pub mod answer;
pub mod file_operation;
pub mod file_service;
pub mod reply_codes;
pub mod routing_engine;
pub mod tcp_operation;
pub mod tcp_service;
