//! Threads that each run one single-threaded runtime.
//!
//! A connection lives on one of them for ever. No work is stolen and nothing a connection touches moves between
//! cores; measured against a work-stealing runtime on two cores this is worth a quarter to a half of the rate of
//! 64 busy connections.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Job = Box<dyn FnOnce(&TaskTracker) + Send>;

/// A set of worker threads. Clones share them.
#[derive(Clone)]
pub struct Workers {
    inboxes: Arc<[mpsc::UnboundedSender<Job>]>,
    next: Arc<AtomicUsize>,
    stop: CancellationToken,
}

/// Waits for the threads of [`Workers`] to end.
#[must_use = "threads that nobody waits for may be cut off in the middle of their work"]
pub struct WorkerThreads(Vec<JoinHandle<()>>);

impl Workers {
    /// Starts `count` threads, at least one, named `name-0`, `name-1`, …
    pub fn start(name: &str, count: usize) -> std::io::Result<(Workers, WorkerThreads)> {
        Workers::start_with_rest(name, count, || {})
    }

    /// As [`Workers::start`]; each thread calls `at_rest` whenever nothing is left that it could do at once, before it
    /// sleeps. What wakes tasks there is served before the sleep. `at_rest` must not panic.
    pub fn start_with_rest(
        name: &str,
        count: usize,
        at_rest: impl Fn() + Clone + Send + Sync + 'static,
    ) -> std::io::Result<(Workers, WorkerThreads)> {
        let stop = CancellationToken::new();
        let mut inboxes = Vec::new();
        let mut threads = Vec::new();
        for index in 0..count.max(1) {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(at_rest.clone()).build()?;
            let (inbox, jobs) = mpsc::unbounded_channel();
            let stop = stop.clone();
            let run = move || LocalSet::new().block_on(&runtime, work(jobs, stop));
            threads.push(std::thread::Builder::new().name(format!("{name}-{index}")).spawn(run)?);
            inboxes.push(inbox);
        }
        let workers = Workers { inboxes: inboxes.into(), next: Arc::new(AtomicUsize::new(0)), stop };
        Ok((workers, WorkerThreads(threads)))
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.inboxes.len()
    }

    /// Starts a task on the thread whose turn it is. The task is made there, so it need not be `Send`.
    pub fn spawn<F: Future<Output = ()> + 'static>(&self, make: impl FnOnce() -> F + Send + 'static) {
        self.spawn_on(self.next.fetch_add(1, Ordering::Relaxed), make);
    }

    /// Starts a task on the thread of that number, counted round.
    pub fn spawn_on<F: Future<Output = ()> + 'static>(&self, thread: usize, make: impl FnOnce() -> F + Send + 'static) {
        let job: Job = Box::new(|tasks| {
            // Made inside the task, so that a panic there ends the task and not the thread.
            tasks.spawn_local(async { make().await });
        });
        // A worker refuses only after `stop`; then nothing new is to begin.
        let _ = self.inboxes[thread % self.inboxes.len()].send(job);
    }

    /// Lets the threads end once the tasks that run have ended.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl WorkerThreads {
    /// Waits until every thread has ended.
    pub fn join(self) {
        for thread in self.0 {
            // A panic was already reported by the thread itself.
            let _ = thread.join();
        }
    }
}

async fn work(mut jobs: mpsc::UnboundedReceiver<Job>, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    loop {
        tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => job(&tasks),
                None => break,
            },
            () = stop.cancelled() => break,
        }
    }
    jobs.close();
    tasks.close();
    tasks.wait().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_run_round_robin_and_are_waited_for() {
        let (workers, threads) = Workers::start("test", 2).unwrap();
        let (sent, received) = std::sync::mpsc::channel();
        for _ in 0..4 {
            let sent = sent.clone();
            workers.spawn(move || async move {
                tokio::task::yield_now().await;
                sent.send(std::thread::current().name().map(str::to_owned)).unwrap();
            });
        }
        drop(sent);
        let mut names: Vec<_> = received.iter().take(4).flatten().collect();
        workers.stop();
        threads.join();
        names.sort();
        assert_eq!(names, ["test-0", "test-0", "test-1", "test-1"]);
    }

    #[test]
    fn what_is_woken_at_rest_runs_before_the_sleep() {
        let wanted = Arc::new(tokio::sync::Notify::new());
        let wake = wanted.clone();
        let (workers, threads) = Workers::start_with_rest("test", 1, move || wake.notify_waiters()).unwrap();
        let (sent, received) = std::sync::mpsc::channel();
        workers.spawn(move || async move {
            // Nobody else wakes the task: it waits for the rest of its own thread.
            wanted.notified().await;
            sent.send(()).unwrap();
        });
        assert_eq!(received.recv(), Ok(()));
        workers.stop();
        threads.join();
    }

    #[test]
    fn a_panic_ends_its_own_task_only() {
        let (workers, threads) = Workers::start("test", 1).unwrap();
        let (sent, received) = std::sync::mpsc::channel();
        let made = |panics: bool| {
            assert!(!panics, "while it is made, as asked");
            std::future::ready(())
        };
        workers.spawn(move || made(true));
        workers.spawn(|| async { panic!("while it runs, as asked") });
        workers.spawn(move || async move { sent.send(7).unwrap() });
        assert_eq!(received.recv(), Ok(7));
        workers.stop();
        threads.join();
    }
}
