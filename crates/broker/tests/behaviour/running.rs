//! Brokers that run in this process, on folders that go away with them.

use broker::config::live::Hours;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker::config::BrokerConfig;
use broker::config::exporting::Exporting;
use broker::start::{RunningBroker, start};
use tempfile::TempDir;

use crate::requests::Client;

/// A broker on a temporary folder. Stops when dropped.
pub struct Running {
    broker: Option<RunningBroker>,
    config: BrokerConfig,
    folder: Option<TempDir>,
}

/// Settings that make brokers small and quick: short delays, small files.
pub fn quick_config() -> BrokerConfig {
    BrokerConfig {
        bind_ip: [127, 0, 0, 1].into(),
        listen_port: 0,
        fast_listen_port: 0,
        grpc_port: None,
        exporting: Exporting::closed(),
        io_threads: 1,
        max_message_bytes: (64 << 10).into(),
        segment_bytes: 1 << 20,
        delay_levels: [100, 200, 300, 400].map(Duration::from_millis).to_vec(),
        transaction_timeout: Duration::from_secs(3600).into(),
        transaction_check_interval: Duration::from_secs(3600).into(),
        offset_flush_period: Duration::from_millis(10),
        delete_hours: Hours::default().into(),
        disk_max_used_percent: 100.into(),
        ..BrokerConfig::default()
    }
}

/// A broker with [`quick_config`].
pub fn broker() -> Running {
    broker_with(|_| {})
}

/// A broker with [`quick_config`] and some changes.
pub fn broker_with(change: impl FnOnce(&mut BrokerConfig)) -> Running {
    let mut config = quick_config();
    change(&mut config);
    Running::on(tempfile::tempdir().unwrap(), config)
}

impl Running {
    /// A broker on a folder.
    pub fn on(folder: TempDir, config: BrokerConfig) -> Running {
        let config = BrokerConfig { data_dir: folder.path().to_path_buf(), ..config };
        let broker = start(config.clone()).unwrap();
        Running { broker: Some(broker), config, folder: Some(folder) }
    }

    /// The broker itself.
    pub fn inside(&self) -> &RunningBroker {
        self.broker.as_ref().unwrap()
    }

    /// Where it keeps its data.
    pub fn folder(&self) -> &Path {
        &self.config.data_dir
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.inside().address)
    }

    /// Stops it properly and starts it again on the same folder.
    pub fn restarted(mut self) -> Running {
        self.broker.take().unwrap().stop();
        Running::on(self.folder.take().unwrap(), self.config.clone())
    }

    /// Stops it properly; its folder is left.
    pub fn stopped(mut self) -> TempDir {
        self.broker.take().unwrap().stop();
        self.folder.take().unwrap()
    }

    /// A second broker on what a crash at this moment would leave of this one.
    pub fn crashed(&self) -> Running {
        Running::on(self.crash_copy(), self.config.clone())
    }

    /// What a crash at this moment would leave.
    pub fn crash_copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for (path, bytes) in moment_of(&self.config.data_dir) {
            let path = copy.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        copy
    }

    /// A broker on a folder that [`Running::crash_copy`] made, with the settings of this one.
    pub fn revived(&self, copy: TempDir) -> Running {
        Running::on(copy, self.config.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
    }
}

/// Every file below a folder, as all of them were at one moment: read until two readings in a row agree, so that each
/// file stood still from the end of the first to the start of the second.
fn moment_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut before = None;
    crate::waiting::until("a moment in which no file changes", || {
        let found = read_all(folder);
        if found.is_some() && found == before {
            return found;
        }
        before = found;
        None
    })
}

/// Path and content of every file; `None` when one went away meanwhile.
fn read_all(folder: &Path) -> Option<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).ok()? {
            let path = entry.ok()?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).ok()?;
                files.insert(path.strip_prefix(folder).ok()?.to_path_buf(), bytes);
            }
        }
    }
    Some(files)
}
