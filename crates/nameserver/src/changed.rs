//! Settings that were changed while the nameserver ran, in a file of their own beside the KV table. What the operator wrote
//! is never touched.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::java_properties::{self, Entry};
use tokio::task::spawn_blocking;

use crate::handlers::Nameserver;
use crate::kv::file::replace;

/// Name of the file, in the folder of the KV table.
pub const FILE: &str = "changed.properties";

const HEAD: &str = "# Settings that were changed while the nameserver ran. They go before its file and the environment, not before\n\
                    # flags. To take one back, delete its line while the nameserver is stopped.\n";

/// Where the file lies when the KV table lies there.
pub fn path_beside(kv_path: &Path) -> PathBuf {
    kv_path.with_file_name(FILE)
}

/// Reads the file; nothing if there is none.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    match std::fs::read(path) {
        Ok(bytes) => java_properties::read(&java_properties::decode(&bytes)).map_err(io::Error::other),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Writes the file.
#[derive(Clone, Debug)]
pub struct ChangedFile {
    path: Arc<Path>,
    nameserver: Arc<Nameserver>,
    /// Held while writing, so that an older state never comes after a newer one.
    writing: Arc<Mutex<()>>,
}

impl ChangedFile {
    /// The file of that nameserver.
    pub fn new(path: PathBuf, nameserver: Arc<Nameserver>) -> ChangedFile {
        ChangedFile { path: path.into(), nameserver, writing: Arc::default() }
    }

    /// Writes all changes so far; says whether they are on disk.
    pub async fn save(&self) -> bool {
        let file = self.clone();
        let saved = spawn_blocking(move || {
            let _writing = file.writing.lock().unwrap_or_else(PoisonError::into_inner);
            replace(&file.path, text(&file.nameserver.changed()).as_bytes(), None)
        });
        match saved.await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                let path = self.path.display();
                tracing::error!(%path, %error, "changed settings are in force but could not be stored");
                false
            }
            Err(error) => {
                tracing::error!(%error, "writing of changed settings broke off");
                false
            }
        }
    }
}

fn text(changed: &BTreeMap<String, String>) -> String {
    let mut text = HEAD.to_owned();
    for (key, value) in changed {
        java_properties::write_entry(&mut text, key, value);
    }
    text
}
