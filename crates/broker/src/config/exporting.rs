//! How the broker shows itself to Prometheus.

use std::net::IpAddr;

use metrics::Options;

/// Port of stock brokers for Prometheus.
pub const DEFAULT_PORT: u16 = 5557;

/// Settings of the port for Prometheus, and of what is shown there.
#[derive(Clone, Debug, PartialEq)]
pub struct Exporting {
    /// Whether the port is opened (`metricsExporterType`).
    pub is_open: bool,
    /// The port (`metricsPromExporterPort`), if it is not the usual one: that is [`DEFAULT_PORT`], if nobody has it.
    pub port: Option<u16>,
    /// Interface to listen on (`metricsPromExporterHost`), instead of the broker's.
    pub host: Option<IpAddr>,
    /// Labels that every series of the broker carries, names and values (`metricsLabel`).
    pub labels: Vec<(String, String)>,
    /// How series are shown (`metricsNames`, `metricsOtelCardinalityLimit`).
    pub options: Options,
}

impl Exporting {
    /// No port is opened.
    pub fn closed() -> Exporting {
        Exporting { is_open: false, ..Exporting::default() }
    }

    /// The value of `metricsExporterType`.
    pub(super) fn kind(&self) -> &'static str {
        if self.is_open { "PROM" } else { "DISABLE" }
    }

    /// The labels as `metricsLabel` has them.
    pub(super) fn labels_text(&self) -> String {
        let texts: Vec<String> = self.labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        texts.join(",")
    }
}

impl Default for Exporting {
    fn default() -> Exporting {
        Exporting { is_open: true, port: None, host: None, labels: Vec::new(), options: Options::default() }
    }
}

/// Reads `name:value,name:value`. Names are those of labels, and none that the broker sets itself.
pub(super) fn labels(text: &str) -> Option<Vec<(String, String)>> {
    const OWN: [&str; 4] = ["cluster", "node_type", "node_id", "aggregation"];
    let is_name = |name: &str| {
        name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once(':')?;
        (is_name(name) && !OWN.contains(&name)).then(|| (name.to_owned(), value.to_owned()))
    });
    let labels: Vec<(String, String)> = pairs.collect::<Option<_>>()?;
    let is_twice = |index: usize| labels[..index].iter().any(|(name, _)| *name == labels[index].0);
    (!(0..labels.len()).any(is_twice)).then_some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_stock_brokers_write_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(labels("zone:a, rack:7:b"), Some(vec![pair("zone", "a"), pair("rack", "7:b")]));
        assert_eq!(labels(""), Some(vec![]));
        for wrong in ["zone", "7:a", "a-b:c", "cluster:x", "aggregation:x", "a:1,a:2"] {
            assert_eq!(labels(wrong), None, "{wrong}");
        }
    }
}
