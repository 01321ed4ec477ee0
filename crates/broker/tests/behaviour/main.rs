//! What clients may rely on: whole brokers on loopback ports, spoken to in raw frames over TCP.
//!
//! A crash is a copy of the data folder, taken while the broker runs: what a killed process leaves behind is what it
//! has handed to the system.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod appending;
mod chance;
mod concurrency;
mod delays;
mod durability;
mod kept_folder;
mod long_polling;
mod membership;
mod nameserver_stand_in;
mod popping;
mod queries;
mod recall;
mod registration;
mod requests;
mod retention;
mod running;
mod send_back;
mod topics;
mod transactions;
mod upgrades;
mod waiting;
