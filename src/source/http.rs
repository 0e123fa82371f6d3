//! A form -> what a web server answers to it. One connection a request, TLS as everywhere, no redirects, bounded.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Uri,
    client::conn::http1,
    header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{
    SourceError,
    tls::{self, Stream},
};

/// The longest answer; token servers send a few KB.
const LONGEST: usize = 256 << 10;

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status code (RFC 9110 §15).
    pub status: u16,
    pub body: Bytes,
}

/// Sends these fields to `url` as a form. The authorities in `ca_file` vouch for the server, or else the system's.
///
/// # Errors
/// [`SourceError::Refused`] for a URL or a certificate that stays wrong, [`SourceError::Lost`] for the rest.
pub(super) async fn post_form(
    url: &str,
    fields: &[(&str, &str)],
    ca_file: Option<&Path>,
    limit: Duration,
) -> Result<Answer, SourceError> {
    timeout(limit, post(url, fields, ca_file))
        .await
        .unwrap_or_else(|_| Err(SourceError::Lost(format!("{url}: no answer within {limit:?}"))))
}

async fn post(url: &str, fields: &[(&str, &str)], ca_file: Option<&Path>) -> Result<Answer, SourceError> {
    let refused = |why: &str| SourceError::Refused(format!("{url}: {why}"));
    let lost = |error: &dyn std::fmt::Display| SourceError::Lost(format!("{url}: {error}"));
    let uri: Uri = url.parse().map_err(|_| refused("this is no URL; correct it"))?;
    let host = uri.host().ok_or_else(|| refused("this is no URL with a host; correct it"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let tcp = TcpStream::connect((host, port)).await.map_err(|error| lost(&error))?;
    if !is_secure && !tcp.peer_addr().map_err(|error| lost(&error))?.ip().is_loopback() {
        return Err(refused("secrets go over https:// only; correct it"));
    }
    let tcp: Box<dyn Stream> = Box::new(tcp);
    let stream = if is_secure { tls::handshake(tcp, host, ca_file, None, url).await? } else { tcp };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let request = Request::post(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("bounced/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)))
        .map_err(|_| refused("this is no URL that can be asked; correct it"))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| lost(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        Ok(Answer { status, body: body.map_err(|error| lost(&error))?.to_bytes() })
    };
    // The connection does the work; it ends when nobody asks any more.
    let work = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        biased;
        answer = exchange => answer,
        never = work => never,
    }
}
