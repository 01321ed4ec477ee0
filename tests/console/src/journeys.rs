//! What people do with the console.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};

use crate::cluster::PASSWORD;
use crate::patience::until;
use crate::walk::{At, Walk, part_with};

/// Wrong passwords of one name before it has to wait (docs/operate/console.md).
const TRIES: usize = 5;

/// Most bytes of the picture in README.
const PICTURE_BYTES_MAX: usize = 150_000;

/// Somebody starts a cluster, opens the console and does what it says.
pub async fn begin(walk: &mut Walk) -> anyhow::Result<()> {
    walk.go("/").await?;
    walk.read(walk.viewer.reads("The cluster is up and empty.", "集群已启动且为空")).await?;
    // Buttons for copying appear where script runs: this proves that the browser is set up as this walk says.
    let button = walk.see(At::Css(".steps button.copy")).await?;
    until("the copy buttons are as they should be", async || {
        Ok(button.is_displayed().await? == walk.viewer.with_script)
    })
    .await?;
    walk.picture("empty").await?;
    let line = walk.see(At::Css(".steps li:first-child code")).await?.text().await?;
    ensure!(line.starts_with("apogee send greetings"), "the first step is `{line}`");
    walk.cluster.run_line(&line).await?;
    let line = walk.see(At::Css(".steps li:nth-child(2) code")).await?.text().await?;
    let read = walk.cluster.run_line(&line).await?;
    ensure!(read.contains("hello"), "`{line}` printed `{read}`");
    walk.see_come(At::Css("#tops a[href='/topics/greetings']")).await?;
    walk.picture("begun").await.map(drop)
}

/// Somebody guesses passwords and has to wait; somebody else mistypes once and gets in.
pub async fn log_in(walk: &mut Walk) -> anyhow::Result<()> {
    walk.go("/topics/greetings").await?;
    walk.leave_by("header.top a.button[href^='/login']").await?;
    for _ in 0..TRIES {
        walk.fill("form[action='/login'] input[name=name]", "mallory").await?;
        walk.fill("form[action='/login'] input[name=password]", "a guess").await?;
        walk.leave_by("form[action='/login'] button[type=submit]").await?;
        walk.read(walk.viewer.reads("Name or password is wrong.", "用户名或密码错误")).await?;
    }
    walk.fill("form[action='/login'] input[name=password]", "a guess").await?;
    walk.leave_by("form[action='/login'] button[type=submit]").await?;
    walk.read(walk.viewer.reads("Too many tries", "尝试次数过多")).await?;
    walk.picture("throttled").await?;
    walk.go("/login?next=%2Ftopics%2Fgreetings").await?;
    walk.log_in("not the password").await?;
    walk.see(At::Css(".field-error")).await?;
    walk.picture("refused").await?;
    walk.log_in(PASSWORD).await?;
    walk.see(At::Path("//header//a[contains(@class, 'user')][contains(., 'admin')]")).await?;
    // Back where they came from, and now allowed to do what was greyed out before.
    walk.see(At::Css("a.button[href='/topics/greetings/publish']")).await.map(drop)
}

/// A customer names an order: somebody finds its message and sees which group is past it.
pub async fn find_by_key(walk: &mut Walk) -> anyhow::Result<()> {
    walk.cluster.send("orders", r#"{"order":17,"paid":true}"#, &["--key", "order-17", "--tag", "paid"]).await?;
    walk.cluster.run(&["consume", "orders", "--group", "billing"]).await?;
    walk.cluster.send("orders", r#"{"order":18,"paid":false}"#, &["--key", "order-18", "--tag", "open"]).await?;
    for (key, state) in
        [("order-17", walk.viewer.reads("consumed", "已消费")), ("order-18", walk.viewer.reads("not yet", "尚未消费"))]
    {
        walk.go("/messages").await?;
        walk.choose("form.search select[name=by]", "key").await?;
        walk.fill("form.search input[name=topic]", "orders").await?;
        walk.fill("form.search input[name=key]", key).await?;
        walk.leave_by("form.search button[type=submit]").await?;
        walk.see(At::Path(&format!("//main//td[normalize-space(.)='{key}']"))).await?;
        walk.leave_by("#main td.code a").await?;
        walk.see(At::Css("pre.body")).await?;
        let row = format!("//main//tr[td/a[@href='/groups/billing']][td[contains(., '{state}')]]");
        // Who reads a topic may have been asked a moment before the group was new.
        walk.see_when_loaded(At::Path(&row)).await?;
        walk.picture(key).await?;
    }
    Ok(())
}

/// A group does not get on: its page says how much waits, and that nobody is there to consume.
pub async fn find_why_a_group_lags(walk: &mut Walk) -> anyhow::Result<()> {
    walk.cluster.send("shipments", "first", &[]).await?;
    walk.cluster.run(&["consume", "shipments", "--group", "packers"]).await?;
    for number in 0..7 {
        walk.cluster.send("shipments", &format!("waits {number}"), &[]).await?;
    }
    walk.go("/groups").await?;
    walk.see_come(At::Css("#main a[href='/groups/packers']")).await?;
    walk.leave_by("#main a[href='/groups/packers']").await?;
    walk.see_come(At::Path("//*[@id='cards']//div[contains(@class, 'value')][normalize-space(.)='7']")).await?;
    walk.read(walk.viewer.reads("Nobody is connected for this group.", "该消费组没有客户端连接")).await?;
    walk.picture("lags").await.map(drop)
}

/// What was consumed after some moment is to be consumed again, then not, then again.
pub async fn reset_by_time(walk: &mut Walk) -> anyhow::Result<()> {
    walk.cluster.send("invoices", "before", &[]).await?;
    let moment_ms = now_ms()? + 1;
    until("the moment is over", async || Ok(moment_ms < now_ms()?)).await?;
    walk.cluster.send("invoices", "after", &[]).await?;
    let consume = ["consume", "invoices", "--group", "printers", "--body"];
    let consumed = walk.cluster.run(&consume).await?;
    ensure!(consumed.contains("before") && consumed.contains("after"), "consumed at first: {consumed}");
    move_back(walk, moment_ms).await?;
    // It was the wrong group.
    walk.leave_by("#main .notice a.button").await?;
    walk.see(At::Path(&format!("//main//td[normalize-space(.)='{}']", walk.viewer.reads("1 skipped", "跳过 1"))))
        .await?;
    walk.picture("undo").await?;
    walk.leave_by("form[method=post][action='/groups/printers/reset'] button[type=submit]").await?;
    walk.see_done().await?;
    let consumed = walk.cluster.run(&consume).await?;
    ensure!(consumed.trim().is_empty(), "consumed after the reset was taken back: {consumed}");
    move_back(walk, moment_ms).await?;
    walk.picture("moved").await?;
    let consumed = walk.cluster.run(&consume).await?;
    ensure!(consumed.trim() == "after", "consumed after the reset: {consumed}");
    Ok(())
}

async fn move_back(walk: &mut Walk, moment_ms: u128) -> anyhow::Result<()> {
    walk.go("/groups/printers").await?;
    walk.see_when_loaded(At::Css("#main a[href='/groups/printers/reset']")).await?;
    walk.leave_by("#main a[href='/groups/printers/reset']").await?;
    walk.choose("form select[name=topic]", "invoices").await?;
    walk.press("input[name=to][value=time]").await?;
    walk.fill("input[name=time]", &moment_ms.to_string()).await?;
    walk.leave_by("form[method=get][action='/groups/printers/reset'] button[type=submit]").await?;
    walk.see(At::Path(&format!("//main//td[normalize-space(.)='{}']", walk.viewer.reads("1 again", "重新消费 1"))))
        .await?;
    walk.picture("preview").await?;
    walk.leave_by("form[method=post][action='/groups/printers/reset'] button[type=submit]").await?;
    walk.see_done().await
}

/// A message that a group gave up is sent again.
pub async fn redrive(walk: &mut Walk) -> anyhow::Result<()> {
    walk.cluster.run(&["mqadmin", "updateSubGroup", "-c", "DefaultCluster", "-g", "payers"]).await?;
    let sent = walk.cluster.send("payments", "card declined", &["--key", "pay-9"]).await?;
    walk.cluster.give_up("payers", "payments", &sent).await?;
    walk.go("/dead-letters").await?;
    walk.see_come(At::Css("#main a[href='/dead-letters/payers']")).await?;
    walk.leave_by("#main a[href='/dead-letters/payers']").await?;
    walk.see(At::Path("//main//td[normalize-space(.)='pay-9']")).await?;
    walk.press("#main tbody input[name=place]").await?;
    walk.picture("dead").await?;
    walk.leave_by("#main button[name=again][value=topic]").await?;
    walk.see_done().await?;
    walk.picture("redriven").await?;
    let bodies = walk.cluster.run(&["consume", "payments", "--body"]).await?;
    ensure!(bodies.lines().filter(|body| *body == "card declined").count() == 2, "the topic holds {bodies}");
    Ok(())
}

/// A reminder is sent that comes later.
pub async fn publish_delayed(walk: &mut Walk) -> anyhow::Result<()> {
    walk.cluster.run(&["topic", "create", "reminders"]).await?;
    walk.go("/topics/reminders").await?;
    walk.see_when_loaded(At::Css("a.button[href='/topics/reminders/publish']")).await?;
    walk.leave_by("a.button[href='/topics/reminders/publish']").await?;
    walk.fill("textarea[name=body]", "call back").await?;
    walk.fill("input[name=keys]", "call-4").await?;
    walk.fill("input[name=delay]", "2").await?;
    walk.leave_by("form[action='/topics/reminders/publish'] button[type=submit]").await?;
    walk.see_done().await?;
    walk.picture("published").await?;
    walk.go("/messages?topic=reminders").await?;
    walk.see_when_loaded(At::Path("//main//td[normalize-space(.)='call-4']")).await?;
    walk.leave_by("#main td.code a").await?;
    walk.see(At::Path("//main//pre[contains(@class, 'body')][normalize-space(.)='call back']")).await?;
    // Cards tell when it was stored where consumers find it, and when it was sent. The timer's tick is a second.
    let mut times_ms = Vec::new();
    for time in walk.client.find_all(fantoccini::Locator::Css("#main .cards time")).await? {
        let told = time.attr("title").await?.context("a time without its milliseconds")?;
        times_ms.push(told.rsplit(' ').next().unwrap_or_default().parse::<i64>()?);
    }
    let [stored_ms, sent_ms] = times_ms[..] else { anyhow::bail!("the cards have the times {times_ms:?}") };
    ensure!(1000 <= stored_ms - sent_ms, "sent at {sent_ms}, there at {stored_ms}");
    walk.picture("delivered").await.map(drop)
}

/// A reminder is sent by mistake, and taken back before its time.
pub async fn take_back(walk: &mut Walk) -> anyhow::Result<()> {
    walk.cluster.run(&["topic", "create", "mistakes"]).await?;
    walk.go("/topics/mistakes").await?;
    walk.see_when_loaded(At::Css("a.button[href='/topics/mistakes/publish']")).await?;
    walk.leave_by("a.button[href='/topics/mistakes/publish']").await?;
    walk.fill("textarea[name=body]", "never mind").await?;
    walk.fill("input[name=delay]", "3600").await?;
    walk.leave_by("form[action='/topics/mistakes/publish'] button[type=submit]").await?;
    walk.see_done().await?;
    walk.go("/scheduled").await?;
    walk.see_come(At::Css("#scheduled a[href='/topics/mistakes']")).await?;
    walk.picture("scheduled").await?;
    // The way back is where the message was sent.
    walk.client.back().await?;
    walk.leave_by("#main .notice a.button").await?;
    walk.read(walk.viewer.reads("Due", "到期时间")).await?;
    walk.leave_by("form[action='/scheduled/recall'] button[type=submit]").await?;
    walk.see_done().await?;
    walk.picture("taken back").await?;
    walk.see_come(At::Path("//*[@id='scheduled'][not(.//a[@href='/topics/mistakes'])]")).await
}

/// Somebody watches what comes into a topic, and then only what has a tag.
pub async fn watch_a_topic(walk: &mut Walk) -> anyhow::Result<()> {
    walk.cluster.run(&["topic", "create", "visits"]).await?;
    walk.go("/topics/visits").await?;
    walk.see_when_loaded(At::Css("#main a[href='/topics/visits/tail']")).await?;
    walk.leave_by("#main a[href='/topics/visits/tail']").await?;
    walk.cluster.send("visits", "by car", &["--key", "visit-1", "--tag", "car"]).await?;
    walk.see_come(At::Path("//main//td[normalize-space(.)='visit-1']")).await?;
    walk.fill("form.search input[name=tag]", "foot").await?;
    walk.leave_by("form.search button[type=submit]").await?;
    walk.cluster.send("visits", "on foot", &["--key", "visit-2", "--tag", "foot"]).await?;
    walk.see_come(At::Path("//main//td[normalize-space(.)='visit-2']")).await?;
    let others = walk.client.find_all(At::Path("//main//td[normalize-space(.)='visit-1']").locator()).await?;
    ensure!(others.is_empty(), "a message of another tag is shown");
    walk.picture("tail").await.map(drop)
}

/// A topic gets more queues.
pub async fn edit_topic(walk: &mut Walk) -> anyhow::Result<()> {
    walk.go("/topics/reminders").await?;
    walk.leave_by("a.button[href='/topics/reminders/edit']").await?;
    walk.fill("input[name=read]", "11").await?;
    walk.fill("input[name=write]", "9").await?;
    walk.picture("form").await?;
    walk.leave_by("form[action='/topics/reminders/edit'] button[type=submit]").await?;
    walk.see_done().await?;
    let cells = "//*[@id='configuration']//tr[td[normalize-space(.)='11']][td[normalize-space(.)='9']]";
    walk.see_come(At::Path(cells)).await?;
    walk.picture("changed").await?;
    let told = walk.cluster.run(&["mqadmin", "topicRoute", "-t", "reminders"]).await?;
    let told: String = told.split_whitespace().collect();
    ensure!(told.contains("\"readQueueNums\":11") && told.contains("\"writeQueueNums\":9"), "the route is {told}");
    Ok(())
}

/// The overview of a cluster at work, which README shows: no larger than a picture in a repository should be.
pub async fn see_the_overview(walk: &mut Walk) -> anyhow::Result<()> {
    walk.cluster.run(&["send", "orders", "{}", "--count", "300"]).await?;
    walk.cluster.run(&["consume", "orders", "--group", "billing", "--max", "200"]).await?;
    walk.go("/").await?;
    walk.see_come(At::Css("#charts figure.chart svg path")).await?;
    let bytes = walk.picture("overview").await?.len();
    ensure!(bytes <= PICTURE_BYTES_MAX, "the picture has {bytes} bytes; at most {PICTURE_BYTES_MAX} are for README");
    Ok(())
}

/// A broker hangs while somebody looks, then dies, and comes back each time.
pub async fn see_a_broker_die(walk: &mut Walk) -> anyhow::Result<()> {
    walk.go("/cluster").await?;
    let answers = part_with("brokers", walk.viewer.reads("answers", "正常"));
    walk.see_come(At::Path(&answers)).await?;
    walk.cluster.freeze_broker(true)?;
    let strip = part_with("strip", walk.viewer.reads("No answer from broker-a", "broker-a 没有响应"));
    walk.see_come(At::Path(&strip)).await?;
    walk.see_come(At::Path(&part_with("brokers", walk.viewer.reads("silent", "无响应")))).await?;
    walk.picture("silent").await?;
    walk.cluster.freeze_broker(false)?;
    walk.see_come(At::Path("//*[@id='strip'][not(*)]")).await?;
    walk.see_come(At::Path(&answers)).await?;
    // A connection that ends tells the nameserver at once.
    walk.cluster.kill_broker().await?;
    let gone = walk.viewer.reads("No broker has registered.", "还没有 Broker 注册。");
    walk.see_come(At::Path(&part_with("brokers", gone))).await?;
    walk.picture("gone").await?;
    walk.cluster.restart_broker().await?;
    walk.see_come(At::Path(&answers)).await?;
    walk.picture("back").await.map(drop)
}

/// Names that would be script if a page took them as markup, in everything that a message can carry.
pub async fn meet_script(walk: &mut Walk) -> anyhow::Result<()> {
    const MARKUP: &str = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>";
    let property = format!("own={MARKUP}");
    let sent =
        walk.cluster.send("letters", MARKUP, &["--key", "<b>k</b>", "--tag", "<i>t</i>", "-p", &property]).await?;
    let id = sent["offset_message_id"].as_str().context("no id")?;
    for path in [
        "/messages?topic=letters".to_owned(),
        format!("/messages/letters/{id}"),
        format!("/messages?topic=letters&by=id&key={id}"),
    ] {
        walk.go(&path).await?;
        walk.read("document.title='taken'").await?;
        ensure!(walk.client.title().await? != "taken", "script of a message ran on {path}");
        let inside =
            walk.client.find_all(fantoccini::Locator::Css("#main img, #main script, #main b > b, #main i")).await?;
        ensure!(inside.is_empty(), "markup of a message became part of {path}");
    }
    walk.picture("letters").await.map(drop)
}

/// Milliseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "the journeys are a shell")]
fn now_ms() -> anyhow::Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())
}
