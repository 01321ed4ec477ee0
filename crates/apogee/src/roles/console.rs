//! `apogee console`

use std::io::{BufRead, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use client::{Connections, Nameservers};
use console::{AuthMode, ConsoleSettings, DEFAULT_PORT, ProxySettings, RunningConsole, StartError, Users};
use metrics::{Exporter, Options};

use super::at_work::AtWork;
use super::java_options::JavaOptions;
use super::role_lock::Role;
use super::stopping::StopSignal;
use super::{data_dir, open_files, run_as};
use crate::command_line::{Access, DEFAULT_NAMESERVER};
use crate::output;

/// Variables of the console begin with this; they are no settings of a broker.
pub const VARIABLE_PREFIX: &str = "APOGEE_CONSOLE_";

/// Password of the first user, or a file that holds it.
const PASSWORD_VARIABLE: &str = "APOGEE_CONSOLE_PASSWORD";
const PASSWORD_FILE_VARIABLE: &str = "APOGEE_CONSOLE_PASSWORD_FILE";

/// Where images of the classic console find nameservers, besides NAMESRV_ADDR.
const CLASSIC_VARIABLES: [&str; 2] = ["ROCKETMQ_NAMESRV_ADDR", "ROCKETMQ_CONFIG_NAMESRVADDRS"];

/// Flags of `console`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
The first start prints the password of the user admin, once. Set it before with APOGEE_CONSOLE_PASSWORD or
APOGEE_CONSOLE_PASSWORD_FILE, or later with: apogee console passwd admin

Examples:
  apogee console -n 10.0.0.1:9876
  apogee console -n '10.0.0.1:9876;10.0.0.2:9876' --listen 0.0.0.0 --base-path /mq
  apogee console --trusted-proxies 10.0.0.5 --user-header X-Forwarded-User --default-role viewer"
)]
pub struct ConsoleArguments {
    #[command(subcommand)]
    action: Option<ConsoleAction>,
    /// Port to listen on
    #[arg(long, env = "APOGEE_CONSOLE_PORT", value_name = "PORT", default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    #[command(flatten)]
    common: ConsoleFlags,
    /// Folder of everything that is stored; the console's users are in `console` below it [default: ./data]
    #[arg(long, short, env = "APOGEE_CONSOLE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl ConsoleArguments {
    /// Whether this runs a server.
    pub fn is_server(&self) -> bool {
        self.action.is_none()
    }
}

/// Flags of a console, alone or with a broker.
#[derive(Debug, Default, Args)]
pub struct ConsoleFlags {
    /// Address that the console listens on [default: all in a container, otherwise this machine only]
    #[arg(long = "console-listen", visible_alias = "listen", env = "APOGEE_CONSOLE_LISTEN", value_name = "IP")]
    listen: Option<IpAddr>,
    /// What one may do in the console without a login [default: look at everything but message bodies]
    #[arg(long = "console-auth", visible_alias = "auth", env = "APOGEE_CONSOLE_AUTH", value_enum, value_name = "MODE")]
    auth: Option<Auth>,
    /// What the console's paths begin with, behind a proxy
    #[arg(
        long = "console-base-path",
        visible_alias = "base-path",
        env = "APOGEE_CONSOLE_BASE_PATH",
        value_name = "PATH"
    )]
    base_path: Option<String>,
    #[command(flatten)]
    proxies: ProxyFlags,
}

/// Flags of proxies before a console.
#[derive(Debug, Default, Args)]
struct ProxyFlags {
    /// Proxies of which the console believes X-Forwarded-For and the header with the user: addresses or networks, such
    /// as 10.0.0.0/8
    #[arg(
        long = "console-trusted-proxies",
        visible_alias = "trusted-proxies",
        env = "APOGEE_CONSOLE_TRUSTED_PROXIES",
        value_name = "NETWORK,…",
        value_delimiter = ','
    )]
    trusted: Vec<String>,
    /// Header in which trusted proxies name the user, who is thereby logged in [default: none]
    #[arg(
        long = "console-user-header",
        visible_alias = "user-header",
        env = "APOGEE_CONSOLE_USER_HEADER",
        value_name = "NAME"
    )]
    user_header: Option<String>,
    /// Header in which trusted proxies tell the user's roles or groups, separated by commas
    #[arg(
        long = "console-role-header",
        visible_alias = "role-header",
        env = "APOGEE_CONSOLE_ROLE_HEADER",
        value_name = "NAME"
    )]
    role_header: Option<String>,
    /// Roles of groups; without it the header names roles: viewer, operator, admin
    #[arg(
        long = "console-group-roles",
        visible_alias = "group-roles",
        env = "APOGEE_CONSOLE_GROUP_ROLES",
        value_name = "GROUP=ROLE,…",
        value_delimiter = ','
    )]
    group_roles: Vec<String>,
    /// Role of users for whom no role is told [default: as without a login]
    #[arg(
        long = "console-default-role",
        visible_alias = "default-role",
        env = "APOGEE_CONSOLE_DEFAULT_ROLE",
        value_name = "ROLE"
    )]
    default_role: Option<String>,
}

impl ProxyFlags {
    fn settings(&self) -> ProxySettings {
        ProxySettings {
            trusted: self.trusted.clone(),
            user_header: self.user_header.clone(),
            role_header: self.role_header.clone(),
            roles: self.group_roles.clone(),
            default_role: self.default_role.clone(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum ConsoleAction {
    /// Set the password of a user; reads it from the standard input, or makes one up if that is empty
    Passwd {
        /// Name of the user
        user: String,
        /// Folder of everything that is stored [default: ./data]
        #[arg(long, short, env = "APOGEE_CONSOLE_DATA_DIR", value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Auth {
    /// Look at everything but message bodies
    Viewer,
    /// Nothing
    Required,
    /// Everything
    Off,
}

impl From<Auth> for AuthMode {
    fn from(auth: Auth) -> AuthMode {
        match auth {
            Auth::Viewer => AuthMode::Viewer,
            Auth::Required => AuthMode::Required,
            Auth::Off => AuthMode::Off,
        }
    }
}

/// Runs a console until a signal comes.
pub fn run(arguments: &ConsoleArguments, access: &Access) -> anyhow::Result<ExitCode> {
    if let Some(ConsoleAction::Passwd { user, data_dir }) = &arguments.action {
        return set_password(user, &folder(data_dir.as_deref()));
    }
    open_files::raise_limit();
    run_as::give_up_root(&folder(arguments.data_dir.as_deref()).join("console"))?;
    let nameservers = nameservers(access);
    let signal = StopSignal::listen()?;
    let settings =
        settings(&arguments.common, arguments.port, &nameservers, &folder(arguments.data_dir.as_deref()), false)?;
    let running = start(settings).map_err(|error| match error {
        StartError::Listen(_) => anyhow::Error::from(error).context("the console cannot start (another port: --port)"),
        _ => anyhow::Error::from(error).context("the console cannot start"),
    })?;
    let _at_work = AtWork::note(Role::Console, running.address);
    let announced = match access.json {
        true => output::json(&serde_json::json!({ "console": running.address, "nameservers": nameservers })),
        false => announce(&running).and_then(|()| output::line("stop with Ctrl-C")),
    };
    if announced.is_ok() {
        signal.wait();
    }
    running.stop();
    announced?;
    Ok(ExitCode::SUCCESS)
}

/// Settings of a console. `is_public` says whether clients of other machines are served beside it.
pub fn settings(
    flags: &ConsoleFlags,
    port: u16,
    nameservers: &str,
    folder: &Path,
    is_public: bool,
) -> anyhow::Result<ConsoleSettings> {
    let everywhere = is_public || data_dir::is_in_container();
    let default = if everywhere { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    Ok(ConsoleSettings {
        listen: SocketAddr::new(flags.listen.unwrap_or(default.into()), port),
        nameservers: Nameservers::parse(nameservers, Connections::default()).context("nameservers of the console")?,
        folder: folder.join("console"),
        auth: flags.auth.map_or_else(AuthMode::default, AuthMode::from),
        first_password: first_password()?,
        base_path: flags.base_path.clone().unwrap_or_default(),
        proxies: flags.proxies.settings(),
        metrics: Exporter::new(Options::default()),
    })
}

/// Starts a console.
pub fn start(settings: ConsoleSettings) -> Result<RunningConsole, StartError> {
    RunningConsole::start(settings)
}

/// Says where the console is, and the password that nobody else will ever be told.
pub fn announce(running: &RunningConsole) -> std::io::Result<()> {
    output::line(&format!("  console     {}", link(running.address)))?;
    match &running.first_password {
        Some(password) => {
            output::line(&format!("              log in as admin with the password {password} (printed only now)"))
        }
        None => Ok(()),
    }
}

/// The address to type into a browser on this machine.
fn link(address: SocketAddr) -> String {
    let host = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    format!("http://{}", SocketAddr::new(host, address.port()))
}

fn folder(given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| data_dir::default().path, Path::to_owned)
}

fn first_password() -> anyhow::Result<Option<String>> {
    if let Some(path) = std::env::var_os(PASSWORD_FILE_VARIABLE) {
        let text = std::fs::read_to_string(&path);
        let text =
            text.with_context(|| format!("{PASSWORD_FILE_VARIABLE}: `{}` cannot be read", Path::new(&path).display()))?;
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    Ok(std::env::var(PASSWORD_VARIABLE).ok().filter(|password| !password.is_empty()))
}

/// By flag, or from where images of the classic console take them, or here.
fn nameservers(access: &Access) -> String {
    let given = |text: &String| !text.trim().is_empty();
    let variable = |name: &str| std::env::var(name).ok().filter(given);
    let flag = access.nameservers.clone().filter(given);
    flag.or_else(|| JavaOptions::of_environment().nameservers.map(|told| told.value))
        .or_else(|| variable("NAMESRV_ADDR"))
        .or_else(|| CLASSIC_VARIABLES.iter().find_map(|name| variable(name)))
        .unwrap_or_else(|| DEFAULT_NAMESERVER.to_owned())
}

fn set_password(user: &str, folder: &Path) -> anyhow::Result<ExitCode> {
    let folder = folder.join("console");
    if !folder.exists() {
        bail!(
            "`{}` does not exist; the console makes it at its first start (another folder: --data-dir)",
            folder.display()
        );
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let mut out = std::io::stdout().lock();
        write!(out, "new password of {user} (empty to have one made up; it is shown while you type): ")?;
        out.flush()?;
    }
    let mut typed = String::new();
    stdin.lock().read_line(&mut typed).context("no password")?;
    let typed = typed.trim_end_matches(['\r', '\n']);
    let made_up = Users::set_password(&folder, user, Some(typed).filter(|typed| !typed.is_empty()))?;
    output::line(&match made_up {
        Some(password) => format!("the password of {user} is {password}"),
        None => format!("the password of {user} is changed"),
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_can_be_typed_into_a_browser() {
        assert_eq!(link("0.0.0.0:8080".parse().unwrap()), "http://127.0.0.1:8080");
        assert_eq!(link("10.0.0.1:80".parse().unwrap()), "http://10.0.0.1:80");
    }
}
