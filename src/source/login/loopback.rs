//! A browser on this machine that is sent back here (RFC 8252 §7.3) -> where it was sent back to.

use std::{convert::Infallible, io, net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use super::Asked;
use crate::source::SourceError;

/// Browsers open a few connections; whoever opens more waits.
const CONNECTIONS: usize = 16;

/// How long one connection may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Listens on this machine alone until a browser comes back.
pub struct Loopback {
    listener: TcpListener,
    port: u16,
}

/// A query that a browser came with, and where to say how it went.
type Visit = (String, oneshot::Sender<Result<(), String>>);

impl Loopback {
    /// Listens at `port`, or at any that is free.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn bind(port: Option<u16>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0))).await?;
        Ok(Self { port: listener.local_addr()?.port(), listener })
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the answer to `asked`; the refresh token is kept. The browser shows how it went.
    ///
    /// # Errors
    /// See [`Asked::redeem`].
    pub async fn redeem(self, asked: &Asked) -> Result<(), SourceError> {
        let (visits, mut visited) = mpsc::channel::<Visit>(1);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some((query, reply)) = visited.recv() => {
                    // Somebody else on this machine may knock, too: only what bears the state is an answer.
                    if !asked.is_answer(&query) {
                        let _ = reply.send(Err("this is no answer to what was asked".into()));
                        continue;
                    }
                    let result = asked.redeem(&query).await;
                    let _ = reply.send(result.as_ref().copied().map_err(ToString::to_string));
                    // The browser is to see it before this ends.
                    let _ = timeout(Duration::from_secs(2), async { while connections.join_next().await.is_some() {} }).await;
                    return result;
                }
                Ok((stream, _)) = self.listener.accept(), if connections.len() < CONNECTIONS => {
                    let visits = visits.clone();
                    connections.spawn(async move {
                        let service = service_fn(|request| serve(request, &visits));
                        let serving = http1::Builder::new()
                            .timer(TokioTimer::new())
                            .header_read_timeout(PATIENCE)
                            .keep_alive(false)
                            .serve_connection(TokioIo::new(stream), service);
                        // Whoever breaks off comes again.
                        let _ = timeout(PATIENCE, serving).await;
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn serve(request: Request<Incoming>, visits: &mpsc::Sender<Visit>) -> Result<Response<Full<Bytes>>, Infallible> {
    let query = request.uri().query().filter(|_| request.method() == Method::GET);
    let (status, text) = match query {
        None => (StatusCode::NOT_FOUND, "There is nothing here.".to_owned()),
        Some(query) => {
            let (reply, replied) = oneshot::channel();
            let _ = visits.send((query.to_owned(), reply)).await;
            match replied.await {
                Ok(Ok(())) => (StatusCode::OK, "bounced has what it needs. You can close this window.".to_owned()),
                Ok(Err(why)) => (StatusCode::BAD_REQUEST, why),
                Err(_) => (StatusCode::BAD_REQUEST, "bounced waits no longer.".to_owned()),
            }
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}
