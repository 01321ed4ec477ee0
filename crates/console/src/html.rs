//! Pieces that pages are made of. Whatever comes from the cluster is put in as text, never as markup.

pub mod chart;
pub mod shell;

use std::fmt::Display;

use maud::{Markup, PreEscaped, html};

use crate::auth::Role;
use crate::cluster::changes::Outcome;
use crate::cluster::why::Silent;
use crate::input::FORM_TOKEN;
use crate::language::fill;
use crate::show;
use crate::viewer::Viewer;

/// How something is doing. Never told by colour alone: each has its sign too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Broken.
    Bad,
    /// Neither.
    Plain,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Warning => "warning",
            Tone::Bad => "bad",
            Tone::Plain => "plain",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Tone::Good => "●",
            Tone::Warning => "▲",
            Tone::Bad => "■",
            Tone::Plain => "○",
        }
    }
}

/// A state: a sign and a word.
pub fn state(tone: Tone, text: &str) -> Markup {
    html! { span.state.(tone.class()) { span.sign aria-hidden="true" { (tone.sign()) } (text) } }
}

/// A short property.
pub fn chip(text: &str) -> Markup {
    html! { span.chip { (text) } }
}

/// A value, or a dash that says why there is none.
pub fn known(value: Option<impl Display>, reason: &str) -> Markup {
    match value {
        Some(value) => html! { (value.to_string()) },
        None => html! { span.unknown title=(reason) { (show::UNKNOWN) } },
    }
}

/// A time: in UTC here, in the viewer's zone once the script ran.
pub fn time(time_ms: i64) -> Markup {
    html! { time datetime=(show::iso(time_ms)) title={ (show::utc(time_ms)) " · " (time_ms) } { (show::utc(time_ms)) } }
}

/// How long ago something was; exactly when on hover.
pub fn ago(viewer: &Viewer, time_ms: Option<i64>, now_ms: i64) -> Markup {
    let Some(time_ms) = time_ms else { return known(None::<&str>, viewer.language.never()) };
    let age = now_ms - time_ms;
    let text = if age < 1000 {
        viewer.language.just_now().to_owned()
    } else {
        fill(viewer.language.ago(), &[&show::duration(age)])
    };
    html! { time.age datetime=(show::iso(time_ms)) title={ (show::utc(time_ms)) " · " (time_ms) } { (text) } }
}

/// A figure with a name, and what there is to say about it.
pub fn card(label: &str, value: Markup, note: Markup) -> Markup {
    html! { div.card { div.label { (label) } div.value { (value) } div.note { (note) } } }
}

/// Nothing to show.
pub fn nothing() -> Markup {
    PreEscaped(String::new())
}

/// What stands where a list is empty: what would be here, and what to do next.
pub fn empty(sentence: &str, commands: &[&str]) -> Markup {
    html! {
        div.empty {
            p { (sentence) }
            @for command in commands { (copyable(command)) }
        }
    }
}

/// A command line to copy; the button appears where copying works.
pub fn copyable(command: &str) -> Markup {
    html! {
        div.command {
            code { (command) }
            button.copy type="button" data-copy=(command) hidden {
                svg.icon viewBox="0 0 20 20" aria-hidden="true" { path d="M7 7h9v10H7zM13 7V3H4v10h3" {} }
                span.said role="status" {}
            }
        }
    }
}

/// The hidden field by which a form proves that it is ours.
pub fn token(viewer: &Viewer) -> Markup {
    html! { input type="hidden" name=(FORM_TOKEN) value=(viewer.form_token); }
}

/// A link that looks like a button; without the role it takes, a button that says which.
pub fn action(viewer: &Viewer, needs: Role, class: &str, to: &str, text: &str) -> Markup {
    html! {
        @if viewer.may(needs) { a.button.(class) href=(to) { (text) } }
        @else { button.button.(class) type="button" disabled title=(needs_role(viewer, needs)) { (text) } }
    }
}

/// A member of a group, with the way to what it tells about itself for those who may ask it.
pub fn member(viewer: &Viewer, group: &str, client: &str) -> Markup {
    html! {
        @if viewer.may(Role::Viewer) { a href=(viewer.links.to(&["groups", group, "clients", client])) { (client) } }
        @else { (client) }
    }
}

/// A submit button; without the role it takes, one that cannot be pressed and says why.
pub fn submit(viewer: &Viewer, needs: Role, class: &str, text: &str) -> Markup {
    html! {
        @if viewer.may(needs) { button.button.(class) type="submit" { (text) } }
        @else { button.button.(class) type="submit" disabled title=(needs_role(viewer, needs)) { (text) } }
    }
}

/// Which role something takes.
pub fn needs_role(viewer: &Viewer, needs: Role) -> String {
    fill(viewer.language.takes_role(), &[&needs.name()])
}

/// Head of a page: what it is about, and what can be done.
pub fn head(title: Markup, about: Markup, actions: Markup) -> Markup {
    html! { header.head { div { h1 { (title) } div.about { (about) } } div.actions { (actions) } } }
}

/// The way up from a page.
pub fn crumb(to: &str, text: &str) -> Markup {
    html! { nav.crumb { a href=(to) { (text) } } }
}

/// What came of a change, node by node.
pub fn outcomes(viewer: &Viewer, outcomes: &[Outcome]) -> Markup {
    html! {
        ul.outcomes {
            @for outcome in outcomes {
                li {
                    @match &outcome.result {
                        Ok(()) => { (state(Tone::Good, &outcome.node)) " " span.faint { (viewer.language.done()) } }
                        Err(why) => { (state(Tone::Bad, &outcome.node)) " " span { (why) } }
                    }
                }
            }
        }
    }
}

/// Who answered, but not what was asked.
pub fn refusals(viewer: &Viewer, refusals: &[Silent]) -> Markup {
    html! {
        @if !refusals.is_empty() {
            div.notice.warning {
                p { (viewer.language.not_told()) }
                ul { @for refusal in refusals { li { b { (refusal.node) } ": " (refusal.why) } } }
            }
        }
    }
}

/// A share of a whole as a bar.
pub fn bar(share: f64, tone: Tone) -> Markup {
    let width = format!("{:.1}", share.clamp(0.0, 1.0) * 100.0);
    html! {
        svg.bar.(tone.class()) viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
            rect.track width="100" height="6" {}
            rect.filled width=(width) height="6" {}
        }
    }
}
