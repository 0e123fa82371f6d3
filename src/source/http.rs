//! A form -> what a web server answers to it. One connection a request, TLS as everywhere, no redirects, bounded.

use std::{net::IpAddr, path::Path, time::Duration};

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

const HTTPS_ONLY: &str = "secrets go over https:// only; correct the URL";

/// A URL to which secrets may be sent, as far as its words tell; or why it is none.
pub(super) fn usable(url: &str) -> Result<Uri, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "this is no URL; correct it")?;
    let host = host_of(&uri);
    match uri.scheme_str() {
        _ if host.is_empty() => Err("this is no URL with a host; correct it"),
        Some("https") => Ok(uri),
        Some("http") if is_loopback(host) => Ok(uri),
        Some("http") => Err(HTTPS_ONLY),
        _ => Err("the URL has to begin with https://; correct it"),
    }
}

fn host_of(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

async fn post(url: &str, fields: &[(&str, &str)], ca_file: Option<&Path>) -> Result<Answer, SourceError> {
    let refused = |why: &str| SourceError::Refused(format!("{url}: {why}"));
    let lost = |error: &dyn std::fmt::Display| SourceError::Lost(format!("{url}: {error}"));
    let uri = usable(url).map_err(refused)?;
    let host = host_of(&uri);
    let is_secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let tcp = TcpStream::connect((host, port)).await.map_err(|error| lost(&error))?;
    if !is_secure && !tcp.peer_addr().map_err(|error| lost(&error))?.ip().is_loopback() {
        return Err(refused(HTTPS_ONLY));
    }
    let tcp: Box<dyn Stream> = Box::new(tcp);
    let stream = if is_secure { tls::handshake(tcp, host, ca_file, None, url, "correct the URL").await? } else { tcp };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_nowhere_in_the_clear_but_to_this_machine() {
        for url in
            ["https://login.example.org/token", "http://127.0.0.1:8080/t", "http://[::1]/t", "http://localhost/t"]
        {
            assert!(usable(url).is_ok(), "{url}");
        }
        for (url, expected) in [
            ("http://login.example.org/token", HTTPS_ONLY),
            ("http://192.0.2.1/token", HTTPS_ONLY),
            ("login.example.org", "the URL has to begin with https://; correct it"),
            ("/token", "this is no URL with a host; correct it"),
            ("https://a b/", "this is no URL; correct it"),
        ] {
            assert_eq!(usable(url).err(), Some(expected), "{url}");
        }
    }
}
