//! The port that Prometheus asks: `/metrics`, and for probes `/livez` and `/readyz`.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::exporter::Exporter;

/// Most connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// A connection that asks nothing for so long is closed. Scrapes are seldom further apart than a minute.
const IDLE_MAX: Duration = Duration::from_secs(150);
/// Pause after a connection could not be accepted: mostly too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A port that is open. It has a thread of its own: a scrape must not keep those waiting that serve clients.
#[must_use = "the port stays open until it is closed"]
pub struct Port {
    /// Where it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Port {
    /// Serves what comes to `listener`, which must not block.
    pub fn open(listener: TcpListener, exporter: Exporter) -> std::io::Result<Port> {
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let until = stop.clone();
        let thread = std::thread::Builder::new().name("metrics".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, exporter) => {}
                    () = until.cancelled() => {}
                }
            });
        })?;
        Ok(Port { address, stop, thread })
    }

    /// Closes the port; answers that are not on their way are lost.
    pub fn close(self) {
        self.stop.cancel();
        // A panic was already reported by the thread itself.
        let _ = self.thread.join();
    }
}

async fn accept(listener: TcpListener, exporter: Exporter) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "metrics cannot be served");
            return;
        }
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Ok(place) = room.clone().try_acquire_owned() {
                    tokio::spawn(serve(stream, exporter.clone(), place));
                }
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, exporter: Exporter, _place: OwnedSemaphorePermit) {
    let service = service_fn(move |request| {
        let answer = answer(&exporter, &request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever hangs up in the middle has his reasons.
    let _ = connection.await;
}

/// Answers one request.
pub fn answer<B>(exporter: &Exporter, request: &Request<B>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served here\n".into());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let scrape = exporter.scrape(accept);
            respond(StatusCode::OK, scrape.content_type, scrape.body)
        }
        // Whoever answers is alive.
        "/livez" => plain(StatusCode::OK, "ok\n".into()),
        "/readyz" => match exporter.unready() {
            None => plain(StatusCode::OK, "ok\n".into()),
            Some(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        },
        _ => plain(StatusCode::NOT_FOUND, "here are /metrics, /livez and /readyz\n".into()),
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", text)
}

fn respond(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::exporter::{Options, Source};
    use crate::text::{Family, Page};

    #[derive(Default)]
    struct Shop {
        is_closed: AtomicBool,
    }

    impl Source for Shop {
        fn write(&self, page: &mut Page) {
            page.family(&Family::gauge("customers", "Customers"), |series| series.value(&[], 2_u64));
        }

        fn unready(&self) -> Option<String> {
            self.is_closed.load(Ordering::Relaxed).then(|| "closed on Sundays".to_owned())
        }
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_scrape_gets_all_sources_and_probes_get_the_state() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (exporter, shop) = (Exporter::new(Options::default()), Arc::new(Shop::default()));
        exporter.add(shop.clone());
        let port = Port::open(listener, exporter).unwrap();
        let scrape = ask(port.address, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0");
        assert!(scrape.starts_with("HTTP/1.1 200 OK") && scrape.contains("application/openmetrics-text"), "{scrape}");
        assert!(scrape.contains("\ncustomers 2\n") && scrape.contains("\nprocess_threads "), "{scrape}");
        let first_line = |request: &str| ask(port.address, request).lines().next().unwrap().to_owned();
        assert_eq!(first_line("GET /livez HTTP/1.1"), "HTTP/1.1 200 OK");
        assert_eq!(first_line("GET /readyz HTTP/1.1"), "HTTP/1.1 200 OK");
        assert_eq!(first_line("GET /other HTTP/1.1"), "HTTP/1.1 404 Not Found");
        assert_eq!(first_line("POST /metrics HTTP/1.1"), "HTTP/1.1 405 Method Not Allowed");
        shop.is_closed.store(true, Ordering::Relaxed);
        let refused = ask(port.address, "GET /readyz HTTP/1.1");
        assert!(refused.starts_with("HTTP/1.1 503") && refused.ends_with("closed on Sundays\n"), "{refused}");
        port.close();
    }
}
