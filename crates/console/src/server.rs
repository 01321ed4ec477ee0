//! Running the console: a thread of its own with everything on it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use net::listen::{ListenError, listen};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::activity::{Activity, ActivityError};
use crate::app::App;
use crate::auth::NoRandomness;
use crate::auth::proxies::{Proxies, ProxyError};
use crate::auth::tokens::{Tokens, TokensError};
use crate::auth::users::{Users, UsersError};
use crate::cluster::{Cluster, series};
use crate::door::Peer;
use crate::links::Links;
use crate::routes;
use crate::settings::ConsoleSettings;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;

/// Time that the head of a request may take.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// Time that requests under way get when the console stops.
const STOP_MAX: Duration = Duration::from_secs(1);

/// Pause after an accept that failed, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the console does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its port cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Its users cannot be read.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The tokens of programs cannot be read.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// What was changed cannot be noted.
    #[error(transparent)]
    Activity(#[from] ActivityError),
    /// What it is told of proxies makes no sense.
    #[error(transparent)]
    Proxies(#[from] ProxyError),
    /// The system gives no random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The system gives no thread, or no socket.
    #[error("no thread or socket for the console")]
    System(#[from] std::io::Error),
}

/// A console at work.
#[derive(Debug)]
pub struct RunningConsole {
    /// Where it listens.
    pub address: SocketAddr,
    /// Password of the first user, if it was made up by this start. Nobody will see it again.
    pub first_password: Option<String>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl RunningConsole {
    /// Starts a console.
    pub fn start(settings: ConsoleSettings) -> Result<RunningConsole, StartError> {
        let proxies = Proxies::new(&settings.proxies)?;
        let listener = listen(settings.listen)?;
        let address = listener.local_addr()?;
        let (users, first_password) = Users::open(&settings.folder, settings.first_password.as_deref())?;
        let tokens = Tokens::open(&settings.folder)?;
        let activity = Activity::open(&settings.folder)?;
        let stop = CancellationToken::new();
        let cluster = Cluster::new(settings.nameservers);
        let links = Links::new(&settings.base_path);
        let (auth, metrics) = (settings.auth, settings.metrics);
        let app = App::new(cluster, users, tokens, activity, auth, proxies, links, metrics, stop.clone())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let token = stop.clone();
        let run = move || runtime.block_on(serve(listener, Arc::new(app), token));
        let thread = std::thread::Builder::new().name("console".into()).spawn(run)?;
        Ok(RunningConsole { address, first_password, stop, thread: Some(thread) })
    }

    /// Stops it; requests under way get a second.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the console ended by a panic");
        }
    }
}

impl Drop for RunningConsole {
    fn drop(&mut self) {
        self.end();
    }
}

async fn serve(listener: TcpListener, app: Arc<App>, stop: CancellationToken) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the console cannot use its socket");
            return;
        }
    };
    let tasks = TaskTracker::new();
    tasks.spawn(sample(app.clone(), stop.clone()));
    let router = routes::all(&app);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, stop) = (router.clone(), stop.clone());
                tasks.spawn(async move {
                    drive(stream, peer, router, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the console cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    tasks.close();
    // What is not done by then ends with the runtime.
    let _ = tokio::time::timeout(STOP_MAX, tasks.wait()).await;
}

/// Serves one connection to its end.
async fn drive(stream: tokio::net::TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // An answer is one write; waiting for more would only delay it.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer.ip()));
        router.clone().call(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection to the console ended early");
    }
}

/// Takes points for the charts.
async fn sample(app: Arc<App>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(series::STEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                app.cluster.sample().await;
                app.cluster.rest();
            }
            () = stop.cancelled() => return,
        }
    }
}
