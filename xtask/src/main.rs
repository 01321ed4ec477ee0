//! Chores: `cargo run -p xtask -- tidy`.

mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo run -p xtask -- tidy

  tidy    checks the crate arrows, file names and leftovers; lists the longest files and functions";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy::run(),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
