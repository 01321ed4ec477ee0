//! Which crate may use which: `apogee → nameserver, broker → client, net, log → protocol`, never back, never
//! sideways between services.

use std::path::Path;

use super::Finding;
use super::sources::{Source, Sources};

/// Crates by folder, and the crates of ours that each may use. A crate that is not here may not exist.
const ALLOWED: [(&str, &[&str]); 17] = [
    ("crates/protocol", &[]),
    ("crates/log", &["protocol"]),
    ("crates/net", &["protocol"]),
    ("crates/metrics", &[]),
    ("crates/traces", &[]),
    ("crates/client", &["net", "protocol"]),
    ("crates/console", &["client", "metrics", "net", "protocol"]),
    ("crates/nameserver", &["client", "metrics", "net", "protocol"]),
    ("crates/broker", &["client", "log", "metrics", "net", "protocol", "traces"]),
    ("crates/apogee", &["nameserver", "broker", "console", "client", "metrics", "net", "protocol"]),
    ("crates/sim", &["nameserver", "broker", "client", "net", "log", "protocol"]),
    ("tests/clients/grpc-rust", &[]),
    ("tests/console", &[]),
    ("tests/interleavings", &["broker", "log", "metrics", "net", "protocol"]),
    ("tests/kills", &["protocol"]),
    ("tests/measure/bare-tonic", &["protocol"]),
    ("xtask", &[]),
];

/// Our own crates.
const OWN: [&str; 13] = [
    "protocol",
    "log",
    "net",
    "metrics",
    "traces",
    "client",
    "console",
    "nameserver",
    "broker",
    "apogee",
    "sim",
    "kills",
    "xtask",
];

/// Crates that know no runtime.
const WITHOUT_RUNTIME: [&str; 2] = ["crates/protocol", "crates/log"];

/// Names of runtimes, and what they begin with.
const RUNTIMES: [&str; 5] = ["tokio", "async-std", "smol", "mio", "futures"];

/// Checks the manifest of every crate.
pub fn check(sources: &Sources) -> Vec<Finding> {
    let manifests = sources.0.iter().filter(|source| is_manifest(&source.path));
    manifests.flat_map(check_manifest).collect()
}

fn is_manifest(path: &Path) -> bool {
    // Programs of official clients are workspaces of their own and use nothing of ours.
    path.ends_with("Cargo.toml")
        && ["crates", "tests", "xtask"].iter().any(|folder| path.starts_with(folder))
        && !path.starts_with("tests/clients")
}

fn check_manifest(manifest: &Source) -> Vec<Finding> {
    let folder = manifest.path.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
    let finding = |line, what| Finding { path: manifest.path.clone(), line, what };
    let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == folder) else {
        return vec![finding(0, "is a crate without a place among the arrows".into())];
    };
    let mut findings = Vec::new();
    for (line, name) in dependencies(&manifest.text) {
        if OWN.contains(&name) && !allowed.contains(&name) {
            findings.push(finding(line, format!("`{folder}` may not use `{name}`")));
        }
        if WITHOUT_RUNTIME.contains(&folder.as_str()) && RUNTIMES.iter().any(|runtime| name.starts_with(runtime)) {
            findings.push(finding(line, format!("`{folder}` knows no runtime, but uses `{name}`")));
        }
    }
    findings
}

/// Line and name of every dependency, those of tests and build scripts too.
fn dependencies(manifest: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (number, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            let parts: Vec<&str> = section.split('.').collect();
            inside = parts.last().is_some_and(|last| last.ends_with("dependencies"));
            // `[dependencies.name]` names one in its heading.
            if let [.., table, name] = parts[..]
                && table.ends_with("dependencies")
            {
                found.push((number + 1, name));
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            found.push((number + 1, name.trim_matches('"')));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arrows_of_this_workspace_point_one_way() {
        let sources = Sources::of_workspace().unwrap();
        assert_eq!(check(&sources), []);
        for (folder, _) in ALLOWED {
            assert!(sources.get(Path::new(folder).join("Cargo.toml")).is_some(), "{folder} is gone");
        }
    }

    fn check_text(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: path.into(), text: text.into() };
        check(&Sources(vec![source])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_that_point_back_are_found() {
        let text =
            "[package]\nname = \"net\"\n\n[dependencies]\nprotocol.workspace = true\nbroker = { path = \"x\" }\n";
        assert_eq!(
            check_text("crates/net/Cargo.toml", text),
            ["crates/net/Cargo.toml:6: `crates/net` may not use `broker`"]
        );
        let text =
            "[dev-dependencies]\ntokio.workspace = true\n\n[target.'cfg(unix)'.dependencies.net]\npath = \"x\"\n";
        assert_eq!(
            check_text("crates/log/Cargo.toml", text),
            [
                "crates/log/Cargo.toml:2: `crates/log` knows no runtime, but uses `tokio`",
                "crates/log/Cargo.toml:4: `crates/log` may not use `net`",
            ]
        );
        assert_eq!(check_text("crates/new/Cargo.toml", "").len(), 1);
        assert_eq!(check_text("fuzz/Cargo.toml", "[dependencies]\nbroker = \"1\"\n").len(), 0);
    }
}
