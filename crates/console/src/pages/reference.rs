//! `/api`: the API for people who read, from the same table as its OpenAPI document.

use maud::{Markup, html};

use crate::api::openapi::example;
use crate::api::operations::{ALL, Operation};
use crate::auth::Role;
use crate::html::{chip, copyable, head, nothing};
use crate::input::Params;
use crate::language::Language;
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;

/// `GET /api`
pub async fn page(viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&[])?;
    let language = viewer.language;
    let document = viewer.links.to(&["api", "v1", "openapi.json"]);
    Ok(Page::new(Section::Other, language.api()).still(html! {
        (head(html! { (language.api()) }, html! { (language.api_about()) " " a href=(document) { "OpenAPI 3.1" } }, nothing()))
        @for operation in ALL { (described(&viewer, operation)) }
    }))
}

fn described(viewer: &Viewer, operation: &Operation) -> Markup {
    let language = viewer.language;
    let summary = match language {
        Language::English => operation.summary.0,
        Language::Chinese => operation.summary.1,
    };
    html! {
        section.panel {
            h2.code { (operation.method.to_uppercase()) " " (viewer.links.base()) (operation.path) }
            p { (summary) " " (chip(operation.role.name())) }
            @if !operation.query.is_empty() { p.faint { (language.api_parameters()) ": " code { (operation.query.join(", ")) } } }
            @if !operation.answer.is_empty() { p.faint { (language.api_answer()) " " (operation.status) ": " code { (operation.answer.join(", ")) } } }
            (copyable(&command(viewer, operation)))
        }
    }
}

/// The request as a command line.
fn command(viewer: &Viewer, operation: &Operation) -> String {
    let mut command = "curl -s".to_owned();
    if operation.role != Role::Guest {
        command.push_str(" -H 'authorization: Bearer apg_…'");
    }
    if operation.method != "get" {
        command.push_str(&format!(" -X {}", operation.method.to_uppercase()));
    }
    if !operation.body.is_empty() {
        let body = show::shell_word(&example(operation.body).to_string());
        command.push_str(&format!(" -H 'content-type: application/json' -d {body}"));
    }
    command.push_str(&format!(" \"$CONSOLE{}{}\"", viewer.links.base(), operation.path));
    command
}
