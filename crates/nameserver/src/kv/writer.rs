//! Owns the file of the table. Whatever changes the table arrives here; readers see a change only once it is stored.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{KvChange, KvError, KvTable, file};
use crate::handlers::Nameserver;

/// Changes that are written together, and that may wait.
const BATCH_MAX: usize = 64;

/// Asks for changes.
#[derive(Clone, Debug)]
pub struct KvStore(mpsc::Sender<Request>);

#[derive(Debug)]
struct Request {
    change: KvChange,
    done: oneshot::Sender<Result<(), KvError>>,
}

impl KvStore {
    /// Changes the table; done when the change is on disk.
    pub async fn store(&self, change: KvChange) -> Result<(), KvError> {
        let (done, stored) = oneshot::channel();
        self.0.send(Request { change, done }).await.map_err(|_| KvError::NotStored)?;
        stored.await.unwrap_or(Err(KvError::NotStored))
    }
}

/// Makes the changes that a [`KvStore`] asks for.
#[derive(Debug)]
pub struct KvWriter {
    path: PathBuf,
    nameserver: Arc<Nameserver>,
    inbox: mpsc::Receiver<Request>,
}

impl KvWriter {
    /// A writer of that file, and the way to ask it.
    pub fn new(path: PathBuf, nameserver: Arc<Nameserver>) -> (KvStore, KvWriter) {
        let (outbox, inbox) = mpsc::channel(BATCH_MAX);
        (KvStore(outbox), KvWriter { path, nameserver, inbox })
    }

    /// Runs until `stop`, and then until what was already accepted is stored.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                () = stop.cancelled(), if !self.inbox.is_closed() => self.inbox.close(),
                taken = self.inbox.recv_many(&mut batch, BATCH_MAX) => match taken {
                    0 => return,
                    _ => self.store(&mut batch).await,
                },
            }
        }
    }

    async fn store(&self, batch: &mut Vec<Request>) {
        let mut table = self.nameserver.kv();
        let applied: Vec<_> = batch.iter().map(|request| table.apply(&request.change)).collect();
        let changed = applied.contains(&Ok(true));
        let stored = if changed { self.save(table, batch).await } else { Ok(()) };
        for (request, applied) in batch.drain(..).zip(applied) {
            // Whoever asked may have gone; the change stays.
            let _ = request.done.send(applied.and_then(|changed| if changed { stored.clone() } else { Ok(()) }));
        }
    }

    async fn save(&self, table: KvTable, batch: &[Request]) -> Result<(), KvError> {
        let path = self.path.clone();
        let saved = spawn_blocking(move || file::save(&path, &table).map(|()| table)).await;
        match saved {
            Ok(Ok(table)) => {
                self.nameserver.set_kv(table, batch.iter().map(|request| &request.change));
                Ok(())
            }
            Ok(Err(error)) => {
                tracing::error!(path = %self.path.display(), %error, "change of the KV table could not be stored");
                Err(KvError::NotStored)
            }
            Err(error) => {
                tracing::error!(%error, "writing of the KV table broke off");
                Err(KvError::NotStored)
            }
        }
    }
}
