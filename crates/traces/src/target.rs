//! Where a collector listens.

/// A collector: `host:port`, with or without `http://` before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Target {
    /// Reads where a collector listens. Without a port it is 4317, which collectors use for gRPC. `None` if it cannot be
    /// read, or asks for TLS, which is not spoken to collectors.
    pub fn parse(text: &str) -> Option<Target> {
        const USUAL_PORT: u16 = 4317;
        let authority = text.strip_prefix("http://").unwrap_or(text);
        let authority: http::uri::Authority = authority.strip_suffix('/').unwrap_or(authority).parse().ok()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let has_port = authority.as_str().len() > authority.host().len();
        let port = if has_port { authority.port_u16().filter(|port| *port > 0)? } else { USUAL_PORT };
        (!host.is_empty() && !authority.as_str().contains('@')).then_some(Target { host, port })
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_with_and_without_scheme_and_port() {
        let read = |text: &str| Target::parse(text).map(|target| target.authority());
        assert_eq!(read("collector:4319").as_deref(), Some("collector:4319"));
        assert_eq!(read("http://collector:4319/").as_deref(), Some("collector:4319"));
        assert_eq!(read("10.0.0.7").as_deref(), Some("10.0.0.7:4317"));
        assert_eq!(read("[::1]:4319").as_deref(), Some("[::1]:4319"));
        for wrong in
            ["", "https://collector:4317", "collector:0", "collector:70000", "collector:", "a/b", "u@collector"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
