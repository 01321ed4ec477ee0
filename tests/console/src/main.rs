//! Walks through the console of the binary that `APOGEE_BIN` names, with a real browser, as people do: in English and
//! Chinese, with script and without. Pictures are kept in the folder that is the only argument.

mod browser;
mod cluster;
mod journeys;
mod patience;
mod walk;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;

use browser::{Driver, Viewer};
use cluster::Cluster;
use walk::Walk;

/// Calls a journey, tells how long it took, and says where it ended.
macro_rules! travel {
    ($walk:expr, $($journey:ident),* $(,)?) => {{
        $(
            let begun = now();
            if let Err(error) = journeys::$journey($walk).await {
                $walk.keep_trouble(stringify!($journey)).await;
                let error = error.context(format!("{}: {}", $walk.viewer.name(), stringify!($journey)));
                eprintln!("failed: {error:#}");
                return Err(error);
            }
            println!("{:15} {:22} {:5.1} s", $walk.viewer.name(), stringify!($journey), begun.elapsed().as_secs_f64());
        )*
    }};
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let walked = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(walk_all()));
    match walked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn walk_all() -> anyhow::Result<()> {
    let begun = now();
    let apogee = std::env::var_os("APOGEE_BIN").context("APOGEE_BIN has to name the binary")?;
    let apogee = PathBuf::from(apogee).canonicalize().context("the binary that APOGEE_BIN names")?;
    let pictures = std::env::args_os().nth(1).context("the argument is the folder of the pictures")?;
    let pictures = PathBuf::from(pictures);
    if pictures.exists() {
        std::fs::remove_dir_all(&pictures).context("old pictures")?;
    }
    let driver = Driver::start().await?;
    // Two at a time: while one waits for a broker, the other goes on.
    for pair in Viewer::ALL.chunks(2) {
        let both = pair.iter().map(|viewer| walk_as(*viewer, &driver, &apogee, &pictures));
        for walked in futures_util::future::join_all(both).await {
            walked?;
        }
    }
    let count = Viewer::ALL.len();
    println!(
        "journeys: all done, as {count} viewers, in {:.0} s; pictures in {}",
        begun.elapsed().as_secs_f64(),
        pictures.display()
    );
    Ok(())
}

async fn walk_as(viewer: Viewer, driver: &Driver, apogee: &Path, pictures: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let pictures = pictures.join(viewer.name());
    std::fs::create_dir_all(&pictures)?;
    let cluster = Cluster::start(apogee, folder.path()).await?;
    let client = driver.open(viewer, &folder.path().join("profile")).await?;
    let mut walk = Walk { viewer, cluster, client, pictures, taken: 0 };
    let walked = travel_all(&mut walk).await;
    // Browsers that stay behind would slow the others down.
    let closed = walk.client.clone().close().await;
    walked?;
    closed.context("the browser does not close")
}

async fn travel_all(walk: &mut Walk) -> anyhow::Result<()> {
    travel!(
        walk,
        begin,
        log_in,
        find_by_key,
        find_why_a_group_lags,
        reset_by_time,
        redrive,
        publish_delayed,
        take_back,
        watch_a_topic,
        edit_topic,
        meet_script,
        see_the_overview,
        see_a_broker_die,
    );
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "the journeys are a shell")]
fn now() -> Instant {
    Instant::now()
}
