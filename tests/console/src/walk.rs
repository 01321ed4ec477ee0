//! What somebody does on a page: goes there, looks, types, presses.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use fantoccini::elements::Element;
use fantoccini::{Client, Locator};

use crate::browser::Viewer;
use crate::cluster::Cluster;
use crate::patience::until;

/// One person before one console.
pub struct Walk {
    /// Who it is.
    pub viewer: Viewer,
    /// What they look after.
    pub cluster: Cluster,
    /// Their browser.
    pub client: Client,
    /// Folder of the pictures.
    pub pictures: PathBuf,
    /// Pictures so far.
    pub taken: usize,
}

/// Something on a page, as CSS or XPath names it.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// A CSS selector.
    Css(&'a str),
    /// An XPath expression.
    Path(&'a str),
}

impl At<'_> {
    /// As the driver has it.
    pub fn locator(&self) -> Locator<'_> {
        match self {
            At::Css(css) => Locator::Css(css),
            At::Path(path) => Locator::XPath(path),
        }
    }
}

/// An XPath literal of a text.
fn quoted(text: &str) -> String {
    if text.contains('\'') { format!("\"{text}\"") } else { format!("'{text}'") }
}

/// The part of a page with this id, once it has the text.
pub fn part_with(id: &str, text: &str) -> String {
    format!("//*[@id={}][contains(normalize-space(.), {})]", quoted(id), quoted(text))
}

impl Walk {
    /// Goes to an address of the console.
    pub async fn go(&self, path: &str) -> anyhow::Result<()> {
        let address = format!("http://{}{path}", self.cluster.console);
        crate::patience::within(&format!("{path} is loaded"), async { Ok(self.client.goto(&address).await?) }).await
    }

    /// Waits until it is there.
    pub async fn see(&self, at: At<'_>) -> anyhow::Result<Element> {
        let mut found = None;
        until(&format!("{at:?} is on the page"), async || {
            found = self.client.find_all(at.locator()).await?.into_iter().next();
            Ok(found.is_some())
        })
        .await?;
        found.context("nothing")
    }

    /// Waits until the content has this text.
    pub async fn read(&self, text: &str) -> anyhow::Result<()> {
        self.see(At::Path(&part_with("main", text))).await.map(drop)
    }

    /// Waits until it is there: by itself where the page lives, by loading again where it does not.
    pub async fn see_come(&self, at: At<'_>) -> anyhow::Result<()> {
        if self.viewer.with_script {
            return self.see(at).await.map(drop);
        }
        self.see_when_loaded(at).await
    }

    /// Loads the page again until it is there.
    pub async fn see_when_loaded(&self, at: At<'_>) -> anyhow::Result<()> {
        until(&format!("{at:?} is on the page, loaded again and again"), async || {
            if !self.client.find_all(at.locator()).await?.is_empty() {
                return Ok(true);
            }
            self.client.refresh().await?;
            Ok(false)
        })
        .await
    }

    /// Presses it. What lives may be replaced while one aims: then once more.
    pub async fn press(&self, css: &str) -> anyhow::Result<()> {
        let mut trouble = None;
        let pressed = until(&format!("{css} is pressed"), async || {
            let Some(element) = self.client.find_all(Locator::Css(css)).await?.into_iter().next() else {
                return Ok(false);
            };
            trouble = element.click().await.err();
            Ok(trouble.is_none())
        })
        .await;
        pressed.with_context(|| format!("the last trouble was {trouble:?}"))
    }

    /// Presses a link or the button of a form, and waits until the page is another one.
    pub async fn leave_by(&self, css: &str) -> anyhow::Result<()> {
        let page = self.see(At::Css("html")).await?;
        self.press(css).await?;
        until(&format!("another page comes after {css}"), async || Ok(page.tag_name().await.is_err())).await
    }

    /// Empties a field and types into it.
    pub async fn fill(&self, css: &str, text: &str) -> anyhow::Result<()> {
        let field = self.see(At::Css(css)).await?;
        field.clear().await.with_context(|| format!("{css} is not emptied"))?;
        field.send_keys(text).await.with_context(|| format!("{css} is not filled"))
    }

    /// Chooses from a list.
    pub async fn choose(&self, css: &str, value: &str) -> anyhow::Result<()> {
        let option = format!("{css} option[value=\"{value}\"]");
        self.see(At::Css(&option)).await?;
        self.press(&option).await
    }

    /// Logs in as admin and comes to `next`.
    pub async fn log_in(&self, password: &str) -> anyhow::Result<()> {
        self.fill("form[action='/login'] input[name=name]", "admin").await?;
        self.fill("form[action='/login'] input[name=password]", password).await?;
        self.leave_by("form[action='/login'] button[type=submit]").await
    }

    /// Waits for the page that follows a change, which says in green that it was done.
    pub async fn see_done(&self) -> anyhow::Result<()> {
        self.see(At::Css("#main .notice.good")).await.map(drop)
    }

    /// Keeps a picture of what is seen.
    pub async fn picture(&mut self, name: &str) -> anyhow::Result<Vec<u8>> {
        self.taken += 1;
        let bytes = self.client.screenshot().await?;
        ensure!(bytes.starts_with(b"\x89PNG"), "the picture is no PNG");
        std::fs::write(self.pictures.join(format!("{:02}-{name}.png", self.taken)), &bytes)?;
        Ok(bytes)
    }

    /// Keeps picture and source of a page where somebody did not get any further.
    pub async fn keep_trouble(&mut self, name: &str) {
        // This only tells more about a failure; its own failure must not hide the first.
        let _ = self.picture(&format!("{name}-failed")).await;
        if let Ok(source) = self.client.source().await {
            let _ = std::fs::write(self.pictures.join(format!("{name}-failed.html")), source);
        }
    }
}
