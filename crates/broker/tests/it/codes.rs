//! The code that every refusal has, and what goes with it: clients act on nothing else.

mod pulls;
mod sends;
mod settings;
