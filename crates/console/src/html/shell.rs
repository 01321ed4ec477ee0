//! What is around every page: navigation, search, who is logged in, who is silent.

use maud::{DOCTYPE, Markup, html};

use super::{Tone, outcomes, state, time, token};
use crate::app::{App, Notice};
use crate::assets;
use crate::auth::{AuthMode, Role};
use crate::input::NOTICE;
use crate::language::{Language, fill};
use crate::page::{Page, PageError, Part, Section};
use crate::viewer::{Theme, Viewer};

/// A whole document.
pub fn whole(viewer: &Viewer, page: &Page, notice: Option<&Notice>) -> Markup {
    let language = viewer.language;
    let asset = |name| assets::link(&viewer.links, name);
    let live = page.is_live().then(|| viewer.links.with(&["live"], &[("path", &viewer.here)]));
    html! {
        (DOCTYPE)
        html lang=(language.code()) data-theme=(viewer.theme.name()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title) " · Apogee" }
                link rel="stylesheet" href=(asset("console.css"));
                link rel="icon" href=(asset("icon.svg")) type="image/svg+xml";
                script src=(asset("console.js")) type="module" {}
            }
            body data-live=[live] data-copy-it=(language.copy_it()) data-copied=(language.copied()) data-lost=(language.connection_lost()) {
                a.skip href="#main" { (language.skip_to_content()) }
                (rail(viewer, page.section))
                div.frame {
                    (top_bar(viewer))
                    @if viewer.auth == AuthMode::Off { div.strip.warning role="note" { (language.auth_is_off()) } }
                    (strip(viewer, page))
                    main #main tabindex="-1" {
                        @if let Some(notice) = notice { (noticed(viewer, notice)) }
                        @for part in &page.parts {
                            @match part {
                                Part::Still(markup) => (markup),
                                Part::Live(id, markup) => (region(id, markup)),
                            }
                        }
                    }
                    footer { (as_of(viewer, page)) a href=(viewer.links.to(&["api"])) { "API" } span { "Apogee " (env!("CARGO_PKG_VERSION")) } }
                }
            }
        }
    }
}

/// A part that the live stream may replace.
pub fn region(id: &str, markup: &Markup) -> Markup {
    html! { section.region id=(id) { (markup) } }
}

/// Names who did not answer.
pub fn strip(viewer: &Viewer, page: &Page) -> Markup {
    html! {
        div #strip {
            @if !page.silent.is_empty() {
                div.strip.bad role="status" {
                    details {
                        summary {
                            (state(Tone::Bad, &fill(viewer.language.no_answer_from(), &[&names(page)])))
                            " " span { (viewer.language.figures_lack_them()) }
                        }
                        ul { @for silent in &page.silent { li { b { (silent.node) } ": " (silent.why) } } }
                    }
                }
            }
        }
    }
}

fn names(page: &Page) -> String {
    let names: Vec<&str> = page.silent.iter().map(|silent| silent.node.as_str()).collect();
    names.join(", ")
}

/// Says when the figures were asked for.
pub fn as_of(viewer: &Viewer, page: &Page) -> Markup {
    html! {
        span #as-of {
            @if let Some(asked_ms) = page.asked_at_ms {
                (viewer.language.asked_at()) " " (time(asked_ms))
                @if page.is_live() { " " span.live-sign { (state(Tone::Good, viewer.language.live())) } }
            }
        }
    }
}

fn rail(viewer: &Viewer, here: Section) -> Markup {
    let language = viewer.language;
    let entries = [
        (Section::Overview, &[][..], language.overview(), ICON_OVERVIEW),
        (Section::Topics, &["topics"], language.topics(), ICON_TOPICS),
        (Section::Groups, &["groups"], language.groups(), ICON_GROUPS),
        (Section::Messages, &["messages"], language.messages(), ICON_MESSAGES),
        (Section::DeadLetters, &["dead-letters"], language.dead_letters(), ICON_DEAD),
        (Section::Scheduled, &["scheduled"], language.scheduled(), ICON_SCHEDULED),
        (Section::Clients, &["clients"], language.clients(), ICON_CLIENTS),
        (Section::Cluster, &["cluster"], language.cluster(), ICON_CLUSTER),
        (Section::Doctor, &["doctor"], language.doctor(), ICON_DOCTOR),
        (Section::Activity, &["activity"], language.activity(), ICON_ACTIVITY),
        (Section::Settings, &["settings"], language.settings(), ICON_SETTINGS),
    ];
    html! {
        nav.rail aria-label=(language.navigation()) {
            a.brand href=(viewer.links.to(&[])) { img src=(assets::link(&viewer.links, "icon.svg")) alt="" width="22" height="22"; span { "Apogee" } }
            ul {
                @for (section, segments, name, icon) in entries.into_iter().filter(|entry| entry.0 != Section::Activity || viewer.may(Role::Admin)) {
                    li {
                        @let to = viewer.links.to(segments);
                        @if section == here { a.here href=(to) aria-current="page" { (icon_of(icon)) span { (name) } } }
                        @else { a href=(to) { (icon_of(icon)) span { (name) } } }
                    }
                }
            }
        }
    }
}

fn icon_of(path: &str) -> Markup {
    html! { svg.icon viewBox="0 0 20 20" aria-hidden="true" { path d=(path) {} } }
}

const ICON_OVERVIEW: &str = "M3 11l3-4 3 3 3-6 5 8M3 17h14";
const ICON_TOPICS: &str = "M3 5h14M3 10h14M3 15h9";
const ICON_GROUPS: &str = "M7 9a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM2.500 16c0-3 2-4.500 4.500-4.500s4.500 1.500 4.500 4.500M13 4.500a2.300 2.300 0 0 1 0 4.500M14 11.700c2 .3 3.500 1.800 3.500 4.300";
const ICON_MESSAGES: &str = "M3 5h14v10H3zM3 5.500l7 5.500 7-5.500";
const ICON_SCHEDULED: &str = "M10 3a7 7 0 1 0 0 14a7 7 0 1 0 0-14M10 6v4l3 2";
const ICON_DEAD: &str = "M4 7h12l-1 10H5zM3 7h14M8 7V4h4v3M8.500 10v4M11.500 10v4";
const ICON_CLIENTS: &str = "M3 4h14v9H3zM7 17h6M10 13v4";
const ICON_CLUSTER: &str = "M3 4h14v5H3zM3 11h14v5H3zM6 6.500h.01M6 13.500h.01";
const ICON_DOCTOR: &str = "M2.500 10h4l2-5 3 10 2-5h4";
const ICON_ACTIVITY: &str = "M10 3a7 7 0 1 1-6.500 4.500M3 3v5h5M10 6v4l3 2";
const ICON_SETTINGS: &str = "M3 6h8M15 6h2M3 14h2M9 14h8M13 4v4M7 12v4";

fn top_bar(viewer: &Viewer) -> Markup {
    let language = viewer.language;
    html! {
        header.top {
            form.jump action=(viewer.links.to(&["search"])) method="get" role="search" {
                input #jump type="search" name="q" placeholder=(language.search_hint()) aria-label=(language.search_hint()) autocomplete="off" maxlength="300";
                kbd { "/" }
            }
            div.who {
                (preferences(viewer))
                @match &viewer.user {
                    Some(user) => {
                        a.user href=(viewer.links.to(&["settings"])) { b { (user) } " " span.faint { (viewer.role.name()) } }
                        @if !viewer.is_signed_on {
                            form action=(viewer.links.to(&["logout"])) method="post" { (token(viewer)) button.quiet type="submit" { (language.log_out()) } }
                        }
                    }
                    None if viewer.auth != AuthMode::Off => {
                        a.button href=(viewer.links.with(&["login"], &[("next", &viewer.here)])) { (language.log_in()) }
                    }
                    None => {}
                }
            }
        }
    }
}

fn preferences(viewer: &Viewer) -> Markup {
    let other = if viewer.language == Language::English { Language::Chinese } else { Language::English };
    let (next, sign) = match viewer.theme {
        Theme::System => (Theme::Dark, "◐"),
        Theme::Dark => (Theme::Light, "●"),
        Theme::Light => (Theme::System, "○"),
    };
    let theme_text = fill(viewer.language.theme_is(), &[&viewer.theme.name(), &next.name()]);
    html! {
        form.preferences action=(viewer.links.to(&["preferences"])) method="post" {
            (token(viewer))
            input type="hidden" name="back" value=(viewer.here);
            button.quiet type="submit" name="theme" value=(next.name()) title=(theme_text) aria-label=(theme_text) { (sign) }
            button.quiet type="submit" name="language" value=(other.code()) lang=(other.code()) { (other.own_name()) }
        }
    }
}

/// The notice that an address asks for.
pub fn notice_of(app: &App, here: &str) -> Option<Notice> {
    let (_, query) = here.split_once('?')?;
    let id = query.split('&').find_map(|pair| pair.strip_prefix(NOTICE)?.strip_prefix('='))?;
    app.notice(id)
}

fn noticed(viewer: &Viewer, notice: &Notice) -> Markup {
    let class = if notice.is_good() { "good" } else { "bad" };
    html! {
        div.notice.(class) role="status" {
            p { (state(if notice.is_good() { Tone::Good } else { Tone::Bad }, &notice.headline)) }
            @if !notice.outcomes.is_empty() { (outcomes(viewer, &notice.outcomes)) }
            @if !notice.lines.is_empty() {
                ul { @for (good, line) in &notice.lines { li { (state(if *good { Tone::Good } else { Tone::Bad }, line)) } } }
            }
            @if let Some((text, to)) = &notice.undo { p { a.button href=(to) { (text) } } }
        }
    }
}

/// The page that says why there is none.
pub fn error_page(viewer: &Viewer, error: &PageError) -> Page {
    let language = viewer.language;
    let (title, text) = match error {
        PageError::NotFound(what) if what.is_empty() => (language.not_found(), language.no_such_page().to_owned()),
        PageError::NotFound(what) => (language.not_found(), what.clone()),
        PageError::BadRequest(what) => (language.not_understood(), what.clone()),
        PageError::Forbidden { needs } => (language.not_allowed(), super::needs_role(viewer, *needs)),
        PageError::StaleForm => (language.form_is_stale(), language.form_is_stale_text().to_owned()),
        PageError::WrongPassword => (language.not_allowed(), language.wrong_password().to_owned()),
        // Only the API takes tokens, conditions and keys.
        PageError::WrongToken | PageError::Changed | PageError::InProgress | PageError::KeyReused => {
            (language.not_understood(), error.to_string())
        }
        PageError::Throttled { seconds } => (language.too_many_tries(), fill(language.wait_seconds(), &[seconds])),
        PageError::Upstream(what) => (language.cluster_said_no(), what.clone()),
        PageError::Failed(what) => (language.console_failed(), what.clone()),
    };
    let is_for_login = matches!(error, PageError::Forbidden { .. }) && viewer.user.is_none();
    Page::new(Section::Other, title).still(html! {
        div.error-page {
            h1 { (title) }
            p { (text) }
            p {
                @if is_for_login { a.button.primary href=(viewer.links.with(&["login"], &[("next", &viewer.here)])) { (language.log_in()) } " " }
                a.button href=(viewer.links.to(&[])) { (language.to_overview()) }
            }
        }
    })
}
