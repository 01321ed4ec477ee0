//! Asking one server, for a limited time. A server that is silent is not asked again for a while, so that it delays
//! nobody twice.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use client::{Connections, RequestError};
use tokio::time::Instant;

use super::why::Why;

/// Time that a server gets to answer.
pub const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Time for which a silent server is not asked again.
const REST: Duration = Duration::from_secs(5);

/// Which servers were silent lately.
#[derive(Debug)]
pub struct Reach {
    connections: Connections,
    silent: Mutex<HashMap<String, (Instant, Why)>>,
}

impl Reach {
    /// Nobody is silent yet.
    pub fn new(connections: Connections) -> Reach {
        Reach { connections, silent: Mutex::default() }
    }

    /// Waits for the answer of the server at `address`, up to [`ANSWER_MAX`].
    pub async fn ask<T, E>(&self, address: &str, asking: impl Future<Output = Result<T, E>>) -> Result<T, Why>
    where
        for<'e> Why: From<&'e E>,
    {
        if let Some(why) = self.silence(address) {
            return Err(why);
        }
        let answer = match tokio::time::timeout(ANSWER_MAX, asking).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Why::from(&error),
            Err(_) => Why::Silent { after: ANSWER_MAX },
        };
        if answer.is_silence() {
            self.connections.forget(address);
            self.silent().insert(address.to_owned(), (Instant::now(), answer.clone()));
        }
        Err(answer)
    }

    /// The same for a request whose answer takes its own time, such as a write: no rest, no memory.
    pub async fn ask_patiently<T>(
        &self,
        address: &str,
        asking: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, Why> {
        let answer = asking.await.map_err(|error| Why::from(&error));
        if let Err(why) = &answer
            && why.is_silence()
        {
            self.connections.forget(address);
        }
        answer
    }

    fn silence(&self, address: &str) -> Option<Why> {
        let mut silent = self.silent();
        let (since, why) = silent.get(address)?;
        if since.elapsed() < REST {
            return Some(why.clone());
        }
        silent.remove(address);
        None
    }

    fn silent(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Why)>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_delays_once_and_is_asked_again_after_a_rest() {
        let reach = Reach::new(Connections::default());
        let never = || std::future::pending::<Result<(), RequestError>>();
        let began = Instant::now();
        let silent = Why::Silent { after: ANSWER_MAX };
        assert_eq!(reach.ask("a:1", never()).await, Err(silent.clone()));
        assert_eq!(began.elapsed(), ANSWER_MAX);
        assert_eq!(reach.ask("a:1", async { Ok::<_, RequestError>(()) }).await, Err(silent));
        assert_eq!(began.elapsed(), ANSWER_MAX);
        assert_eq!(reach.ask("b:1", async { Ok::<_, RequestError>(7) }).await, Ok(7));
        tokio::time::advance(REST).await;
        assert_eq!(reach.ask("a:1", async { Ok::<_, RequestError>(8) }).await, Ok(8));
    }
}
