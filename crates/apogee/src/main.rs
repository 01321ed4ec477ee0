//! The one binary: runs nameserver and broker, and talks to a cluster.

mod bench;
mod call_name;
mod cluster;
mod command_line;
mod consume;
mod exit;
mod group;
mod mqadmin;
mod nouns;
mod output;
mod roles;
mod send;
mod topic;
mod zone;

use std::io;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use command_line::{Command, CommandLine};

fn main() -> ExitCode {
    let command_line = CommandLine::parse_from(call_name::resolve(std::env::args_os()));
    let log_file = command_line.command.log_file();
    roles::logging::start(log_file);
    match run(command_line) {
        Ok(code) => code,
        Err(error) if log_file.is_some() => report_role(&error),
        Err(error) => report(&error),
    }
}

fn run(command_line: CommandLine) -> anyhow::Result<ExitCode> {
    let CommandLine { command, access } = command_line;
    match command {
        Command::Up(arguments) => roles::up::run(&arguments, &access),
        Command::Nameserver { verb: Some(verb), .. } => Ok(nouns::run("nameserver", &verb, &access)),
        Command::Nameserver { arguments, .. } => roles::nameserver::run(&arguments, &access),
        Command::Broker { verb: Some(verb), .. } => Ok(nouns::run("broker", &verb, &access)),
        Command::Broker { arguments, .. } => roles::broker::run(&arguments, &access),
        Command::Console(arguments) => roles::console::run(&arguments, &access),
        Command::Topic(command) => topic::start(&command, &access),
        Command::Group(command) => group::start(&command, &access),
        Command::Message(verb) => Ok(nouns::run("message", &verb, &access)),
        Command::Cluster(verb) => Ok(nouns::run("cluster", &verb, &access)),
        Command::Config(verb) => Ok(nouns::run("config", &verb, &access)),
        Command::User(verb) => Ok(nouns::run("user", &verb, &access)),
        Command::Acl(verb) => Ok(nouns::run("acl", &verb, &access)),
        Command::Send(arguments) => cluster::run_once(send::run(&arguments, &access)),
        Command::Consume(arguments) => cluster::run_once(consume::run(&arguments, &access)),
        Command::Shutdown(arguments) => roles::shutdown::run(&arguments),
        Command::Healthcheck(arguments) => cluster::run_to_code(roles::healthcheck::run(&arguments, &access)),
        Command::Bench(command) => bench::run(&command, &access),
        Command::Mqadmin { arguments } => Ok(mqadmin::run(&arguments, &access)),
    }
}

/// Says on one line why a server cannot start: a container's log shows little more.
fn report_role(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    let text = chain_text(error).replace("\n  caused by: ", ": ").replace('\n', " ");
    let _ = writeln!(std::io::stderr(), "error: {text}");
    ExitCode::from(roles::CANNOT_START)
}

/// Prints what went wrong and why, cause by cause.
fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    // Where standard error cannot be written, as to a file on a full disk, the exit status has to do.
    let _ = tell(&format!("error: {}", chain_text(error)));
    ExitCode::from(exit::Status::of(error) as u8)
}

/// Whoever read our output has seen enough, as in `apogee consume … | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(broken_pipe)
}

/// Writes a line to standard error.
fn tell(line: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{line}")
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
