//! Chromium without a screen, steered by its driver.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::patience::within;

/// The zone of everybody who looks: not UTC, so that times that are not turned into it show.
const ZONE: &str = "Asia/Shanghai";

/// Width and height of the window.
const WINDOW: &str = "1280,900";

/// What the driver says once it can be asked.
const DRIVER_IS_UP: &str = "started successfully on port ";

/// The driver; killed when dropped.
pub struct Driver {
    address: String,
    _process: Child,
    /// Kept open: a driver that cannot write does not go on.
    _said: Lines<BufReader<ChildStdout>>,
}

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// Whether pages may run script.
    pub with_script: bool,
    /// Whether the browser asks for Chinese; English otherwise.
    pub chinese: bool,
}

impl Viewer {
    /// All four.
    pub const ALL: [Viewer; 4] = [
        Viewer { with_script: true, chinese: false },
        Viewer { with_script: false, chinese: false },
        Viewer { with_script: true, chinese: true },
        Viewer { with_script: false, chinese: true },
    ];

    /// As files are called after.
    pub fn name(self) -> &'static str {
        match (self.chinese, self.with_script) {
            (false, true) => "english-script",
            (false, false) => "english-plain",
            (true, true) => "chinese-script",
            (true, false) => "chinese-plain",
        }
    }

    /// The text that this viewer reads.
    pub fn reads(self, english: &'static str, chinese: &'static str) -> &'static str {
        if self.chinese { chinese } else { english }
    }
}

impl Driver {
    /// Starts the driver on a port that it chooses.
    pub async fn start() -> anyhow::Result<Driver> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("TZ", ZONE).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process =
            command.spawn().context("chromedriver does not start; Debian's package is chromium-driver")?;
        let mut said = BufReader::new(process.stdout.take().context("no output")?).lines();
        let port = within("the driver says its port", async {
            while let Some(line) = said.next_line().await? {
                if let Some((_, port)) = line.split_once(DRIVER_IS_UP) {
                    return Ok(port.trim_end_matches('.').parse::<u16>()?);
                }
            }
            anyhow::bail!("the driver ended")
        })
        .await?;
        Ok(Driver { address: format!("http://127.0.0.1:{port}"), _process: process, _said: said })
    }

    /// Opens a browser with nothing remembered.
    pub async fn open(&self, viewer: Viewer, profile: &Path) -> anyhow::Result<Client> {
        let languages = if viewer.chinese { "zh-CN,zh" } else { "en-US,en" };
        let script = if viewer.with_script { 1 } else { 2 };
        let options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
                "--disable-search-engine-choice-screen", "--no-proxy-server", "--force-color-profile=srgb",
                format!("--window-size={WINDOW}"), format!("--user-data-dir={}", profile.display()),
            ],
            "prefs": {
                "intl.accept_languages": languages,
                "profile.managed_default_content_settings.javascript": script,
                "credentials_enable_service": false,
                "profile.password_manager_enabled": false,
            },
        });
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("browserName".to_owned(), Value::from("chrome"));
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        within("the browser opens", async { Ok(builder.connect(&self.address).await?) }).await
    }
}
