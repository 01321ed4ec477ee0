//! The pages, one file each.

pub mod activity;
pub mod brokers;
pub mod clients;
pub mod dead_letters;
pub mod doctor;
pub mod group_changes;
pub mod groups;
pub mod health;
pub mod login;
pub mod member;
pub mod message;
pub mod messages;
pub mod overview;
pub mod places;
pub mod preferences;
pub mod publish;
pub mod reference;
pub mod reset;
pub mod scheduled;
pub mod settings;
pub mod tail;
pub mod tokens;
pub mod topic_changes;
pub mod topics;

use axum::response::Response;

use crate::app::{App, Notice};
use crate::input::NOTICE;
use crate::links::push_query;
use crate::page::redirect;

/// Rows of one page of a list.
const ROWS: usize = 100;

/// Sends the browser to a page that shows a notice.
fn noticed(app: &App, to: &str, notice: Notice) -> Response {
    let id = app.keep_notice(notice.clone());
    let mut to = to.to_owned();
    push_query(&mut to, &[(NOTICE, &id)]);
    let mut response = redirect(&to);
    response.extensions_mut().insert(notice);
    response
}

/// The part of a sorted list that comes after `after`, and the name to go on from where there is more.
fn window<'n, T>(
    sorted: impl Iterator<Item = T>,
    name: impl Fn(&T) -> &'n str,
    after: Option<&str>,
) -> (Vec<T>, Option<&'n str>) {
    let mut rows: Vec<T> = sorted.filter(|row| after.is_none_or(|after| after < name(row))).take(ROWS + 1).collect();
    let has_more = ROWS < rows.len();
    rows.truncate(ROWS);
    let next = rows.last().filter(|_| has_more).map(name);
    (rows, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_where_it_stopped() {
        let names: Vec<String> = (0..250).map(|number| format!("{number:04}")).collect();
        let page = |after: Option<&str>| {
            let (rows, next) = window(names.iter(), |name| name.as_str(), after);
            (rows.len(), rows[0].clone(), next.map(str::to_owned))
        };
        assert_eq!(page(None), (100, "0000".into(), Some("0099".into())));
        assert_eq!(page(Some("0099")), (100, "0100".into(), Some("0199".into())));
        assert_eq!(page(Some("0199")), (50, "0200".into(), None));
    }
}
