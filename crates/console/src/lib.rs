//! The web console: pages, live data and an HTTP API over a cluster, for people and for scripts.
//!
//! Wall: it is a client like any other. It reaches nameservers and brokers only through the `client` crate, and works
//! with stock ones too.

mod activity;
mod api;
mod app;
mod assets;
mod auth;
mod bodies;
mod cluster;
mod door;
mod html;
mod idempotency;
mod input;
mod language;
mod links;
mod live;
mod packing;
mod page;
mod pages;
mod routes;
mod server;
mod settings;
mod show;
mod viewer;
mod when;

pub use activity::ActivityError;
pub use auth::passwords::PasswordError;
pub use auth::tokens::TokensError;
pub use auth::users::{Users, UsersError};
pub use server::{RunningConsole, StartError};
pub use settings::{AuthMode, ConsoleSettings, DEFAULT_PORT, ProxyError, ProxySettings};
