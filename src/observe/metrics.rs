//! The metrics page: `GET /metrics` over HTTP, in Prometheus's text format, served by the control
//! thread over TLS with the server's own certificate unless `metrics.tls` is off.
//!
//! The figures come from the cores, each from its own memory, when the page is asked for. A core
//! that does not answer in time costs the page, never the core.

mod page;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::net::tls::Identity;
use crate::settings::Settings;
use crate::worker::gather::{Answer, Asker, Question, Whole};
use crate::worker::message::Message;
use crate::worker::shared::Shared;

/// Connections served at once; more wait.
const CONNECTIONS: usize = 16;
/// How long a TLS handshake, and the head of a request, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may live: scrapers come again.
const LIFETIME: Duration = Duration::from_secs(300);
/// How long the cores may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The format's content type.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A metrics page ready to be served.
pub struct Page {
    listeners: Vec<TcpListener>,
    tls: Option<TlsAcceptor>,
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old connections' last words.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

/// Opens the metrics port; nothing if there is to be none.
///
/// # Errors
/// An address that cannot be listened on, and why; a certificate that cannot be used.
pub fn prepare(settings: &Settings, identity: Option<&Identity>) -> Result<Option<Page>, String> {
    let wanted = &settings.metrics;
    if wanted.port == 0 {
        return Ok(None);
    }
    let tls = match (wanted.tls, identity) {
        (false, _) => None,
        (true, Some(identity)) => {
            let config = identity.server_config().map_err(|e| e.to_string())?;
            Some(TlsAcceptor::from(config))
        }
        (true, None) => {
            return Err(
                "metrics.tls is on, and there is no certificate: set tls.cert_file and tls.key_file"
                    .to_owned(),
            );
        }
    };
    let mut listeners = Vec::new();
    for &ip in &wanted.bind {
        let address = SocketAddr::new(ip, wanted.port);
        let listener = listen(address).map_err(|e| format!("metrics port {address}: {e}"))?;
        listeners.push(listener);
        let how = if tls.is_some() { "https" } else { "http" };
        tracing::info!("metrics: {how}://{address}/metrics");
    }
    Ok(Some(Page { listeners, tls }))
}

/// Serves the page for ever.
pub async fn serve(page: Option<Page>, shared: Arc<Shared>) {
    let Some(page) = page else {
        return std::future::pending().await;
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    for listener in page.listeners {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(e) => {
                tracing::error!("the metrics port cannot be served: {e}");
                continue;
            }
        };
        let (tls, shared, room) = (page.tls.clone(), shared.clone(), room.clone());
        tokio::spawn(accept(listener, tls, shared, room));
    }
    std::future::pending().await
}

async fn accept(
    listener: tokio::net::TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
) {
    loop {
        // The semaphore is never closed.
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::warn!("metrics: cannot accept a connection: {e}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (tls, shared) = (tls.clone(), shared.clone());
        tokio::spawn(async move {
            let result = timeout(LIFETIME, async {
                match tls {
                    None => talk(socket, shared).await,
                    Some(tls) => match timeout(PATIENCE, tls.accept(socket)).await {
                        Ok(Ok(stream)) => talk(stream, shared).await,
                        Ok(Err(e)) => Err(format!("TLS: {e}")),
                        Err(_) => Err("TLS: the handshake took too long".to_owned()),
                    },
                }
            });
            if let Ok(Err(why)) = result.await {
                tracing::debug!(client = %peer, "metrics: {why}");
            }
            drop(place);
        });
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: Arc<Shared>,
) -> Result<(), String> {
    let service = service_fn(move |request| answer(request, shared.clone()));
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(|e| e.to_string())
}

fn respond(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let format = match status {
        StatusCode::OK => FORMAT,
        _ => "text/plain; charset=utf-8",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

async fn answer<B>(
    request: Request<B>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/metrics" {
        let text = "The metrics are at /metrics.\n".to_owned();
        return Ok(respond(StatusCode::NOT_FOUND, text));
    }
    if request.method() != Method::GET {
        let text = "The metrics can only be read.\n".to_owned();
        return Ok(respond(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    Ok(match gather(&shared).await {
        Ok(whole) => respond(StatusCode::OK, page::page(&whole, &shared)),
        Err(why) => respond(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    })
}

/// Asks every core for its report.
async fn gather(shared: &Shared) -> Result<Whole, String> {
    let (tell, mut told) = mpsc::unbounded_channel::<Answer>();
    let question = Arc::new(Question::Report { latencies: true });
    let asker = Asker::Outside(Arc::new(move |answer| {
        // Nobody listens any more when the cores took too long.
        let _ = tell.send(answer);
    }));
    let cores = shared.inboxes.len();
    for inbox in &shared.inboxes {
        inbox.push(Message::Ask {
            from: asker.clone(),
            question: question.clone(),
        });
    }
    drop(asker);
    let mut answers = Vec::with_capacity(cores);
    let all = async {
        while answers.len() < cores {
            match told.recv().await {
                Some(answer) => answers.push(answer),
                None => break,
            }
        }
    };
    // What came in time is counted below.
    let _ = timeout(ANSWER, all).await;
    if answers.len() < cores {
        let n = answers.len();
        return Err(format!("{n} of {cores} cores have answered in time"));
    }
    Ok(Whole::of(answers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_no_page_and_no_certificate_no_tls() {
        let mut settings = Settings::default();
        assert!(matches!(prepare(&settings, None), Ok(None)));
        settings.metrics.port = 1;
        let said = prepare(&settings, None).err().unwrap_or_default();
        assert!(said.contains("tls.cert_file"), "{said}");
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut settings = Settings::default();
        settings.metrics.port = taken.local_addr().expect("bound").port();
        settings.metrics.tls = false;
        let said = prepare(&settings, None).err().unwrap_or_default();
        let port = settings.metrics.port.to_string();
        assert!(
            said.contains("metrics port") && said.contains(&port),
            "{said}"
        );
    }
}
