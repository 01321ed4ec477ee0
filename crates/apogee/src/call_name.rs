//! The names of the stock scripts: a link of that name to this binary is the script.

use std::ffi::OsString;
use std::path::Path;

/// The arguments as the command line has them: those of a script with the command in front that it stands for.
pub fn resolve(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = arguments.first().and_then(|first| Path::new(first).file_name()).unwrap_or_default();
    let command = match name.to_str().unwrap_or_default().trim_end_matches(".sh") {
        "mqnamesrv" => "nameserver",
        "mqbroker" => "broker",
        "mqadmin" => "mqadmin",
        "mqshutdown" => "shutdown",
        _ => return arguments,
    };
    if command == "broker" {
        arguments = broker_words(arguments);
    }
    arguments.splice(..1, ["apogee".into(), command.into()]);
    arguments
}

/// Options of `mqbroker` with a value, which is no setting even if it looks like one.
const WITH_VALUE: [&str; 6] = ["-c", "--configFile", "-n", "--namesrvAddr", "-pc", "--set"];

/// Words such as `autoCreateTopicEnable=true` become settings: compose files have them, although stock brokers ignore
/// them. The one flag of several letters after one hyphen gets its long name.
fn broker_words(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut resolved: Vec<OsString> = Vec::with_capacity(arguments.len());
    let mut is_value = true;
    for argument in arguments {
        let text = argument.to_string_lossy();
        let word = match &*text {
            "-pc" => "--proxy-config".into(),
            text if !is_value && !text.starts_with('-') && text.contains('=') => format!("--set={text}").into(),
            _ => argument.clone(),
        };
        is_value = WITH_VALUE.contains(&&*text);
        resolved.push(word);
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let resolved: Vec<OsString> = resolve(line.split(' ').map(OsString::from));
        assert_eq!(resolved, expected.split(' ').map(OsString::from).collect::<Vec<_>>());
    }

    #[test]
    fn the_call_name_is_a_command() {
        check("/usr/local/bin/mqnamesrv -c f", "apogee nameserver -c f");
        check("mqbroker -n a:1 -pc p.json", "apogee broker -n a:1 --proxy-config p.json");
        check(
            "mqbroker -c a=b.conf autoCreateTopicEnable=true -n a:1 x=y",
            "apogee broker -c a=b.conf --set=autoCreateTopicEnable=true -n a:1 --set=x=y",
        );
        check("./mqadmin topicList -n a:1", "apogee mqadmin topicList -n a:1");
        check("mqshutdown broker", "apogee shutdown broker");
        check("/opt/apogee up -pc", "/opt/apogee up -pc");
        assert!(resolve([]).is_empty());
    }
}
