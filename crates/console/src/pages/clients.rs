//! `/clients`: who is connected, whatever protocol they speak.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use crate::app::App;
use crate::html::{chip, empty, head, member, nothing, refusals};
use crate::input::Params;
use crate::language::fill;
use crate::page::{Page, PageError, Section};
use crate::viewer::Viewer;

/// Groups whose clients are asked for, at most: each is a request to every broker.
const GROUPS_MAX: usize = 200;

/// What one client does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    client: String,
    group: String,
    consumes: bool,
    address: String,
    language: String,
    version: i32,
}

/// `GET /clients`
pub async fn list(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&["q"])?;
    let language = viewer.language;
    let (catalog, producers) = tokio::join!(app.cluster.catalog(), app.cluster.producers());
    let groups: Vec<&str> =
        catalog.groups.values().filter(|group| !group.is_system).map(|group| group.name.as_str()).collect();
    let asking = groups.iter().take(GROUPS_MAX).map(async |group| (*group, app.cluster.members(group).await));
    let memberships = futures_util::future::join_all(asking).await;
    let consuming = memberships.iter().flat_map(|(group, members)| {
        members.members.values().map(|member| Part {
            client: member.id.clone(),
            group: (*group).to_owned(),
            consumes: true,
            address: member.address.clone(),
            language: member.language.clone(),
            version: member.version,
        })
    });
    let producing = producers.clients.iter().map(|client| Part {
        client: client.id.clone(),
        group: client.group.clone(),
        consumes: false,
        address: client.address.clone(),
        language: client.language.clone(),
        version: client.version,
    });
    let wanted = params.get("q").to_lowercase();
    let fits = |part: &Part| {
        [&part.client, &part.group, &part.address, &part.language]
            .iter()
            .any(|text| text.to_lowercase().contains(&wanted))
    };
    let mut parts: Vec<Part> = consuming.chain(producing).filter(fits).collect();
    parts.sort();
    let page = Page::new(Section::Clients, language.clients())
        .asked_at(catalog.asked_ms)
        .without(&catalog.silent)
        .without(&producers.silent);
    Ok(page
        .still(html! {
            (head(html! { (language.clients()) }, nothing(), nothing()))
            form.filter method="get" action=(viewer.links.to(&["clients"])) data-filter {
                input type="search" name="q" value=(params.get("q")) placeholder=(language.filter_values()) aria-label=(language.filter_values()) maxlength="255";
            }
        })
        .live(
            "clients",
            html! {
                (refusals(&viewer, &producers.refusals))
                @if GROUPS_MAX < groups.len() { p.faint { (fill(language.clients_partial(), &[&GROUPS_MAX])) } }
                (client_table(&viewer, &parts))
            },
        ))
}

fn client_table(viewer: &Viewer, parts: &[Part]) -> Markup {
    let language = viewer.language;
    if parts.is_empty() {
        return empty(language.no_clients(), &[]);
    }
    html! {
        (facets(viewer, parts))
        div.wide {
            table {
                thead {
                    tr {
                        th { (language.client_id()) } th { (language.address()) } th { (language.language_of_client()) } th.number { (language.version()) }
                        th { (language.part()) } th { (language.group()) }
                    }
                }
                tbody {
                    @for part in parts {
                        tr {
                            td.code { @if part.consumes { (member(viewer, &part.group, &part.client)) } @else { (part.client) } }
                            td { (part.address) }
                            td { (chip(&part.language)) }
                            td.number { (part.version) }
                            td { (if part.consumes { language.consumes() } else { language.produces() }) }
                            td { @if part.consumes { a href=(viewer.links.group(&part.group)) { (part.group) } } @else { (part.group) } }
                        }
                    }
                }
            }
        }
    }
}

/// How many clients there are of each language and version: old ones are found before an upgrade.
fn facets(viewer: &Viewer, parts: &[Part]) -> Markup {
    let mut kinds: BTreeMap<(&str, i32), Vec<&str>> = BTreeMap::new();
    for part in parts {
        let clients = kinds.entry((&part.language, part.version)).or_default();
        if !clients.contains(&part.client.as_str()) {
            clients.push(&part.client);
        }
    }
    html! {
        p.facets {
            span.faint { (viewer.language.by_version()) ": " }
            @for ((language, version), clients) in &kinds {
                a.chip href=(viewer.links.with(&["clients"], &[("q", language)])) { (language) " " (version) " × " (clients.len()) } " "
            }
        }
    }
}
