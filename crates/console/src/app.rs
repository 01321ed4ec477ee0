//! What all requests share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Exporter;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::activity::Activity;
use crate::auth::proxies::Proxies;
use crate::auth::sessions::Sessions;
use crate::auth::throttle::Throttle;
use crate::auth::tokens::Tokens;
use crate::auth::users::Users;
use crate::auth::{AuthMode, NoRandomness, random_text};
use crate::cluster::Cluster;
use crate::cluster::changes::Outcome;
use crate::idempotency::Answers;
use crate::links::Links;

/// Notices that wait to be shown.
const NOTICES_MAX: usize = 256;

/// Exports at a time: each holds one answer of every queue that it reads.
const EXPORTS_MAX: usize = 4;

/// Pages that are kept live at a time.
const LIVE_MAX: usize = 256;

/// The console.
#[derive(Debug)]
pub struct App {
    /// The cluster.
    pub cluster: Cluster,
    /// What somebody without a login may do.
    pub auth: AuthMode,
    /// Proxies of whom addresses and users are believed.
    pub proxies: Proxies,
    /// Answers to changes that have a key.
    pub answers: Answers,
    /// Makes addresses.
    pub links: Links,
    /// One password is hashed at a time: each takes 19 MiB.
    pub hashing: Semaphore,
    /// Places for live pages.
    pub live: Arc<Semaphore>,
    /// Places for exports.
    pub exports: Arc<Semaphore>,
    /// What `/metrics` shows.
    pub metrics: Exporter,
    /// Cancelled when the console stops.
    pub stop: CancellationToken,
    /// What forms of people without a session carry.
    guest_form_token: String,
    /// What the form tokens of people are made with whom a proxy names. Never sent.
    form_secret: String,
    started: Instant,
    users: Mutex<Users>,
    tokens: Mutex<Tokens>,
    sessions: Mutex<Sessions>,
    throttle: Mutex<Throttle>,
    notices: Mutex<VecDeque<(String, Notice)>>,
    activity: Mutex<Activity>,
}

/// What came of a form, to be shown on the page that follows it.
#[derive(Clone, Debug, Default)]
pub struct Notice {
    /// What was done.
    pub headline: String,
    /// Node by node.
    pub outcomes: Vec<Outcome>,
    /// Other lines: of good news when `true`.
    pub lines: Vec<(bool, String)>,
    /// The way to take it back, where there is one: what it is called, and its address.
    pub undo: Option<(&'static str, String)>,
}

impl Notice {
    /// A notice of one line.
    pub fn of(headline: impl Into<String>) -> Notice {
        Notice { headline: headline.into(), ..Notice::default() }
    }

    /// Whether all went well.
    pub fn is_good(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.result.is_ok()) && self.lines.iter().all(|(good, _)| *good)
    }
}

impl App {
    /// A console of this cluster and these users.
    #[expect(clippy::too_many_arguments, reason = "each is a part, and it is called once")]
    pub fn new(
        cluster: Cluster,
        users: Users,
        tokens: Tokens,
        activity: Activity,
        auth: AuthMode,
        proxies: Proxies,
        links: Links,
        metrics: Exporter,
        stop: CancellationToken,
    ) -> Result<App, NoRandomness> {
        Ok(App {
            cluster,
            auth,
            proxies,
            answers: Answers::default(),
            links,
            hashing: Semaphore::new(1),
            live: Arc::new(Semaphore::new(LIVE_MAX)),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            metrics,
            stop,
            guest_form_token: random_text()?,
            form_secret: random_text()?,
            started: Instant::now(),
            users: Mutex::new(users),
            tokens: Mutex::new(tokens),
            sessions: Mutex::default(),
            throttle: Mutex::default(),
            notices: Mutex::default(),
            activity: Mutex::new(activity),
        })
    }

    /// Time since the console started.
    pub fn uptime(&self) -> std::time::Duration {
        self.started.elapsed()
    }

    /// What forms of people without a session carry.
    pub fn guest_form_token(&self) -> &str {
        &self.guest_form_token
    }

    /// What the form tokens of people are made with whom a proxy names. Never sent.
    pub fn form_secret(&self) -> &str {
        &self.form_secret
    }

    /// Who may log in.
    pub fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tokens by which programs log in.
    pub fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is logged in.
    pub fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was changed, and by whom.
    pub fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who failed to log in.
    pub fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a notice for the next page; returns by which name.
    pub fn keep_notice(&self, notice: Notice) -> String {
        let id = random_text().unwrap_or_default();
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if NOTICES_MAX <= notices.len() {
            notices.pop_front();
        }
        notices.push_back((id.clone(), notice));
        id
    }

    /// The notice of that name; stays until others need its place, so that a page may be loaded again.
    pub fn notice(&self, id: &str) -> Option<Notice> {
        let notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        notices.iter().find(|(known, _)| known == id).map(|(_, notice)| notice.clone())
    }
}
