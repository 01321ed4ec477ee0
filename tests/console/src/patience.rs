//! How long anything may take. The limits are generous, as the machine may be busy; nothing waits for them to pass.

use std::time::Duration;

use anyhow::Context;

/// Longest time that one step may take.
pub const STEP_MAX: Duration = Duration::from_secs(60);

/// Time between two looks at something that tells nobody when it changes.
pub const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Waits until `holds` says yes; `what` names it in an error.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    within(what, async {
        while !holds().await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    })
    .await
}

/// What `task` comes to, within [`STEP_MAX`].
pub async fn within<T>(what: &str, task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let late = || format!("after {} s still waiting: {what}", STEP_MAX.as_secs());
    tokio::time::timeout(STEP_MAX, task).await.with_context(late)?.with_context(|| what.to_owned())
}
