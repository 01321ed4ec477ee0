//! A broker of its own for each test, in a folder of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use broker::broker::Broker;
use broker::config::BrokerConfig;
use broker::config::exporting::Exporting;
use broker::start::{RunningBroker, start};
use metrics::Exporter;
use tempfile::TempDir;

use crate::wire::Wire;

/// A running broker; stops when dropped.
pub struct Server {
    running: Option<RunningBroker>,
    config: BrokerConfig,
    _folder: TempDir,
}

impl Server {
    /// Starts a broker in an empty folder.
    pub fn start() -> Server {
        Server::start_with(|_| {})
    }

    /// Starts a broker in an empty folder, with settings changed by `change`.
    pub fn start_with(change: impl FnOnce(&mut BrokerConfig)) -> Server {
        let folder = TempDir::new().unwrap();
        let mut config = BrokerConfig {
            bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            listen_port: 0,
            fast_listen_port: 0,
            grpc_port: Some(0),
            exporting: Exporting::closed(),
            data_dir: folder.path().join("data"),
            // What the recorded broker had.
            default_topic_queue_nums: 4.into(),
            io_threads: 2,
            segment_bytes: 64 << 20,
            ..BrokerConfig::default()
        };
        change(&mut config);
        let running = start(config.clone()).unwrap();
        Server { running: Some(running), config, _folder: folder }
    }

    /// Stops the broker and starts it again on the same folder, with other settings if wanted.
    pub fn restart_with(&mut self, change: impl FnOnce(&mut BrokerConfig)) {
        self.running.take().unwrap().stop();
        change(&mut self.config);
        self.running = Some(start(self.config.clone()).unwrap());
    }

    /// Stops the broker and starts it again on the same folder.
    pub fn restart(&mut self) {
        self.restart_with(|_| {});
    }

    /// The broker itself.
    pub fn broker(&self) -> &Broker {
        &self.running.as_ref().unwrap().broker
    }

    /// Address of the main port.
    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().address
    }

    /// Address of the fast port.
    pub fn fast_address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().fast_address
    }

    /// Address of the port for gRPC clients.
    pub fn grpc_address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().grpc_address.unwrap()
    }

    /// What the broker shows of itself.
    pub fn exporter(&self) -> &Exporter {
        &self.running.as_ref().unwrap().exporter
    }

    /// Address of the port for Prometheus, if the test asked for one.
    pub fn metrics_address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().metrics_address.unwrap()
    }

    /// Folder of what is stored.
    pub fn data_dir(&self) -> &std::path::Path {
        &self.config.data_dir
    }

    /// Connects to the main port.
    pub fn connect(&self) -> Wire {
        Wire::connect(self.address())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}
