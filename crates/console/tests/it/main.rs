//! The console over real sockets, before a cluster of stand-ins.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod accessibility;
mod activity;
mod api;
mod browser;
mod cluster;
mod conditions;
mod doctor;
mod export;
mod openapi;
mod pages;
mod proxies;
mod tail;
mod tokens;
