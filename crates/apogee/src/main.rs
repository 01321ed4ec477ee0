//! The one binary: runs nameserver and broker, and talks to a cluster.

mod bench;
mod cluster;
mod command_line;
mod consume;
mod group;
mod output;
mod roles;
mod send;
mod topic;

use std::io;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use command_line::{Command, CommandLine};

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    roles::logging::start(command_line.command.is_role());
    match run(command_line) {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

fn run(command_line: CommandLine) -> anyhow::Result<ExitCode> {
    let CommandLine { command, access } = command_line;
    match command {
        Command::Up(arguments) => roles::up::run(&arguments, &access),
        Command::Nameserver(arguments) => roles::nameserver::run(&arguments, &access),
        Command::Broker(arguments) => roles::broker::run(&arguments, &access),
        Command::Topic(command) => cluster::run(topic::run(&command, &access)),
        Command::Group(command) => cluster::run(group::run(&command, &access)),
        Command::Send(arguments) => cluster::run(send::run(&arguments, &access)),
        Command::Consume(arguments) => cluster::run(consume::run(&arguments, &access)),
        Command::Bench(command) => bench::run(&command, &access),
    }
}

/// Prints what went wrong and why, cause by cause.
fn report(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(broken_pipe) {
        // Whoever read our output has seen enough, as in `apogee consume … | head`.
        return ExitCode::SUCCESS;
    }
    // Where standard error cannot be written, as to a file on a full disk, the exit status has to do.
    let _ = writeln!(std::io::stderr(), "error: {}", chain_text(error));
    ExitCode::FAILURE
}

/// Several errors of one text are one: some repeat their cause.
fn chain_text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut last = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text.push_str(&cause);
        } else if cause != last {
            text.push_str("\n  caused by: ");
            text.push_str(&cause);
        }
        last = cause;
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_told_one_by_one_and_once() {
        let inner: anyhow::Result<()> = Err(anyhow::anyhow!("no such file"));
        let error = inner.context("no such file").context("cannot start").unwrap_err();
        assert_eq!(chain_text(&error), "cannot start\n  caused by: no such file");
    }
}
