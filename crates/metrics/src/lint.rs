//! What a page has to be like, and what queries ask for. For tests of those who write either.
//!
//! Source of the rules: the text format of Prometheus (0.0.4) and OpenMetrics (1.0.0).

use std::collections::{BTreeMap, BTreeSet};

/// A line of a page that is a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name of the series, with `_total`, `_bucket` and the like.
    pub name: String,
    /// Labels, values as they were before they were written.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    samples: Vec<Sample>,
}

/// Reads a page and checks that scrapers can. Returns everything that is on it.
pub fn check(page: &str) -> Result<Vec<Sample>, String> {
    let is_open = page.ends_with("# EOF\n");
    if !page.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let mut families: Vec<Family> = Vec::new();
    let mut help: Option<&str> = None;
    for line in page.lines() {
        let at = |what: &str| format!("{what}: {line}");
        if line == "# EOF" {
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map(|(name, _)| name);
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| at("no type"))?;
            if help.take() != Some(name) {
                return Err(at("no help right before the type"));
            }
            if families.iter().any(|family| family.name == name) {
                return Err(at("a family is there twice"));
            }
            families.push(Family { name: name.to_owned(), kind: kind.to_owned(), samples: Vec::new() });
            continue;
        }
        let sample = sample(line).ok_or_else(|| at("cannot be read"))?;
        let family = families.last_mut().ok_or_else(|| at("no family"))?;
        if !family.suffixes(is_open).iter().any(|suffix| sample.name == format!("{}{suffix}", family.name)) {
            return Err(at("belongs to another family"));
        }
        family.samples.push(sample);
    }
    families.iter().try_for_each(|family| family.check(is_open))?;
    Ok(families.into_iter().flat_map(|family| family.samples).collect())
}

impl Family {
    fn suffixes(&self, is_open: bool) -> &'static [&'static str] {
        match self.kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            "counter" if is_open => &["_total"],
            _ => &[""],
        }
    }

    fn check(&self, is_open: bool) -> Result<(), String> {
        let name = &self.name;
        let ends_with_total = name.ends_with("_total");
        let is_named_right = match self.kind.as_str() {
            "counter" => ends_with_total != is_open,
            "gauge" | "histogram" => !ends_with_total,
            other => return Err(format!("{name} is of the unknown type {other}")),
        };
        if !is_named_right {
            return Err(format!("{name} does not end as a {} does", self.kind));
        }
        let mut seen = BTreeSet::new();
        for sample in &self.samples {
            if !seen.insert((&sample.name, &sample.labels)) {
                return Err(format!("{} {:?} is there twice", sample.name, sample.labels));
            }
            if self.kind == "counter" && (sample.value < 0.0 || sample.value.is_nan()) {
                return Err(format!("{name} is {}", sample.value));
            }
        }
        if self.kind == "histogram" { self.check_histogram() } else { Ok(()) }
    }

    fn check_histogram(&self) -> Result<(), String> {
        let mut buckets: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le").and_then(|bound| number(&bound));
            let bound = bound.ok_or_else(|| format!("a bucket of {} has no bound", self.name))?;
            buckets.entry(labels).or_default().push((bound, sample.value));
        }
        for (labels, buckets) in buckets {
            let of = |suffix: &str| {
                let name = format!("{}{suffix}", self.name);
                self.samples.iter().find(|sample| sample.name == name && sample.labels == labels).map(|s| s.value)
            };
            let wrong = |what: &str| Err(format!("{} {labels:?}: {what}", self.name));
            if !buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1) {
                return wrong("buckets are not cumulative");
            }
            let last = buckets.last().copied();
            if last.map(|(bound, _)| bound) != Some(f64::INFINITY) || last.map(|(_, count)| count) != of("_count") {
                return wrong("the last bucket does not hold all");
            }
            if of("_sum").is_none() {
                return wrong("there is no sum");
            }
        }
        Ok(())
    }
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        while !inside.starts_with('}') {
            let (label, value) = inside.split_once("=\"")?;
            let (value, after) = unquoted(value)?;
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            inside = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &inside[1..];
    }
    let value = number(rest.strip_prefix(' ')?)?;
    is_name(name).then(|| Sample { name: name.to_owned(), labels, value })
}

/// A value up to its closing quote, and what follows that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                letter @ ('\\' | '"') => letter,
                _ => return None,
            }),
            letter => value.push(letter),
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

/// Names of our series in a query (PromQL): what stands outside of selectors and begins like one of them.
pub fn names_in(query: &str) -> BTreeSet<String> {
    const PREFIXES: [&str; 3] = ["rocketmq_", "apogee_", "process_"];
    let mut outside = String::new();
    let (mut depth, mut quoted) = (0, None);
    for letter in query.chars() {
        match (letter, quoted) {
            (letter, Some(quote)) => quoted = (letter != quote).then_some(quote),
            ('"' | '\'', None) => quoted = Some(letter),
            ('{', None) => depth += 1,
            ('}', None) => {
                depth -= 1;
                outside.push(' ');
            }
            (letter, None) if depth == 0 => outside.push(letter),
            _ => {}
        }
    }
    let words = outside.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix))).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP a_total A\n# TYPE a_total counter\na_total{x=\"\\\"}\\n\"} 1\na_total 2\n\
                        # HELP h H\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n";

    #[test]
    fn a_page_that_scrapers_read_is_read() {
        let samples = check(GOOD).unwrap();
        assert_eq!((samples.len(), samples[0].labels["x"].as_str(), samples[1].value), (6, "\"}\n", 2.0));
        let open = GOOD.replace("HELP a_total", "HELP a").replace("TYPE a_total", "TYPE a") + "# EOF\n";
        check(&open).unwrap();
    }

    #[test]
    fn what_scrapers_would_refuse_or_misread_is_found() {
        for (from, to) in [
            ("# HELP a_total A\n", ""),
            ("# TYPE h histogram", "# TYPE a_total counter"),
            ("a_total 2", "b 2"),
            ("a_total 2", "a_total{x=\"\\\"}\\n\"} 2"),
            ("a_total 2", "a_total{x=\"1\",x=\"2\"} 2"),
            ("a_total 2", "a_total{x=\"a\\d\"} 2"),
            ("a_total 2", "a_total two"),
            ("a_total 2", "a_total -2"),
            ("counter", "gauge"),
            ("counter", "number"),
            ("le=\"+Inf\"} 3", "le=\"+Inf\"} 0"),
            ("h_count 3", "h_count 4"),
            ("h_sum 4\n", ""),
            ("h_bucket{le=\"+Inf\"} 3\n", ""),
            ("h_count 3\n", "h_count 3"),
        ] {
            assert!(GOOD.contains(from) && check(&GOOD.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn names_are_found_outside_of_selectors() {
        let query = r#"sum by (topic) (rate(rocketmq_messages_in_total{topic=~"apogee_x.*", node_id="a"}[5m]))
            / on (cluster) apogee_disk_bytes{kind="total"} > 0.5 and process_open_fds"#;
        let names = names_in(query);
        let expected = ["apogee_disk_bytes", "process_open_fds", "rocketmq_messages_in_total"];
        assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
    }
}
