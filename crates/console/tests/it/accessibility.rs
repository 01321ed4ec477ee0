//! What people need who use a keyboard, a screen reader, or poor eyes.

use std::collections::HashMap;

use crate::cluster::{MESSAGE_ID, Scene};
use crate::pages::crawl;

/// Least ratio of text to what it stands on (WCAG 2.1, criterion 1.4.3).
const CONTRAST_MIN: f64 = 4.5;

/// Every tag of this name: its attributes as written, and the place of its first character.
fn tags<'t>(text: &'t str, name: &str) -> Vec<(usize, &'t str)> {
    let begin = format!("<{name}");
    let found = text.match_indices(&begin).map(|(at, _)| (at, &text[at + begin.len()..]));
    let whole = found.filter(|(_, rest)| rest.starts_with([' ', '>']));
    whole.filter_map(|(at, rest)| Some((at, rest.split_once('>')?.0))).collect()
}

/// Whether a label is open at this place.
fn is_in_label(text: &str, at: usize) -> bool {
    let before = &text[..at];
    before.rfind("</label>").map_or(0, |end| end + 1) < before.rfind("<label").map_or(0, |begin| begin + 1)
}

#[test]
fn every_field_has_a_name_and_nothing_jumps_ahead_in_the_order() {
    let scene = Scene::new(|_| None);
    let mut admin = scene.admin();
    let pages = crawl(&mut admin, 400);
    let mut fields = 0;
    for page in pages.iter().filter(|page| page.is_html) {
        let (path, text) = (&page.path, &page.text);
        for kind in ["input", "select", "textarea"] {
            for (at, attributes) in tags(text, kind) {
                if attributes.contains("type=\"hidden\"") {
                    continue;
                }
                fields += 1;
                let has_name = attributes.contains("aria-label=\"") || is_in_label(text, at);
                assert!(has_name, "{path}: <{kind}{attributes}> has no label");
            }
        }
        for (_, attributes) in tags(text, "img") {
            assert!(attributes.contains(" alt="), "{path}: <img{attributes}> has no text");
        }
        // Only the order of the page itself is the order of the focus; what is not in it says so with -1.
        for order in text.split("tabindex=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(["0", "-1"].contains(&order), "{path}: something has tabindex {order}");
        }
        let first = text.find("<a ").map(|at| &text[at..]).unwrap_or_default();
        assert!(
            first.starts_with("<a class=\"skip\" href=\"#main\""),
            "{path}: the first link does not lead to the content"
        );
        assert_eq!(tags(text, "main").len(), 1, "{path}");
        assert_eq!(tags(text, "h1").len(), 1, "{path} has to have one heading of the first rank");
        assert!(text.contains("<html lang=\"en\""), "{path} does not say its language");
    }
    assert!(100 < fields, "only {fields} fields were seen");
    let page = admin.get(&format!("/messages/orders/{MESSAGE_ID}"));
    page.has("aria-current");
}

/// Relative luminance of `#rrggbb` (WCAG 2.1).
fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn text_stands_out_from_what_it_stands_on_in_both_themes() {
    let scene = Scene::new(|_| None);
    let mut browser = scene.browser();
    let link = browser.get("/").values("href").into_iter().find(|link| link.ends_with(".css")).unwrap();
    let style = browser.get(&link).text;
    let mut themes = 0;
    for block in style.split('{').filter(|block| block.contains("--ground:")) {
        let lines = block.split(';').filter_map(|line| line.trim().strip_prefix("--")?.split_once(": #"));
        let colours: HashMap<&str, String> =
            lines.filter(|(_, hex)| hex.len() == 6).map(|(name, hex)| (name, format!("#{hex}"))).collect();
        let texts = colours
            .keys()
            .filter(|name| name.starts_with("ink") || ["accent", "good", "warning", "bad"].contains(name));
        for text in texts {
            for ground in ["ground", "paper", "raised", "sunken"] {
                let ratio = contrast(&colours[text], &colours[ground]);
                assert!(CONTRAST_MIN <= ratio, "{text} on {ground} has {ratio:.1}");
            }
        }
        themes += 1;
    }
    assert!(2 <= themes, "the style has {themes} themes");
}
