//! Packing of answers with gzip, for browsers that take it.

use std::io::Write;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{self, HeaderValue};

/// What is smaller goes out as it is: it fits into one packet.
const BYTES_MIN: usize = 1400;

/// Pages are made in memory, so that they can be taken whole; none is near this.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What packs well. Streams and message bodies are not among them.
const PACKED: [&str; 5] = ["text/html", "text/css", "text/javascript", "image/svg+xml", "application/json"];

/// Packs an answer if that helps.
///
/// Pages hold the token of the viewer's forms next to what the address asked for. Guessing the one by the length of the
/// other takes many requests with the viewer's cookie, which `SameSite=Lax` keeps other sites from sending.
pub async fn pack(asked: &HeaderMap, response: Response) -> Response {
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let packs = content_type.is_some_and(|name| PACKED.iter().any(|packed| name.starts_with(packed)));
    if !packs || !takes_gzip(asked) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Bodies that are made in memory can be read.
    let whole = to_bytes(body, BYTES_MAX).await.unwrap_or_default();
    if whole.len() < BYTES_MIN {
        return Response::from_parts(parts, Body::from(whole));
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(whole.len() / 4), Compression::fast());
    let packed = encoder.write_all(&whole).and_then(|()| encoder.finish());
    let Ok(packed) = packed else { return Response::from_parts(parts, Body::from(whole)) };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    Response::from_parts(parts, Body::from(packed))
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    let lines = asked.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let mut items = lines.flat_map(|line| line.split(','));
    items.any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let is_refused = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.trim().parse() == Ok(0.0_f32));
        name.trim().eq_ignore_ascii_case("gzip") && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_say_whether_they_take_it() {
        let check = |text: &'static str, expected: bool| {
            let asked = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(text))]);
            assert_eq!(takes_gzip(&asked), expected, "{text}");
        };
        check("gzip, deflate, br, zstd", true);
        check("deflate, GZIP;q=0.5", true);
        check("gzip;q=0", false);
        check("br", false);
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
