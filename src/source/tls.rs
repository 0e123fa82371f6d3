//! A socket -> the same with TLS around it, once the server has proved its name. Knows no protocol above TLS.

use std::{io, path::Path, sync::Arc, time::Duration};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls_platform_verifier::BuilderVerifierExt;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, CertificateError, ClientConfig, RootCertStore, crypto::ring},
};
use webpki::Error as PathError;

use super::SourceError;

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// TLS from the first octet (RFC 8314 §3.2).
    #[default]
    Implicit,
    /// The connection begins in the clear and turns to TLS (RFC 9051 §6.2.1); a server that doesn't offer it is
    /// refused.
    StartTls,
    /// None at all: to loopback only, unless `insecure` is set.
    Plain,
}

impl Tls {
    /// In words for people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Implicit => "TLS",
            Self::StartTls => "STARTTLS",
            Self::Plain => "no encryption",
        }
    }

    /// What to say of a server that took the connection and did not answer for so long. One that waits for TLS from the
    /// first octet says nothing before it comes (RFC 8314 §3).
    pub(super) fn silence(self, who: &str, limit: Duration) -> SourceError {
        let advice = match self {
            Self::Implicit => "check host and port",
            Self::StartTls | Self::Plain => {
                "where its port takes TLS from the start, as 993 and 995 do, set tls = \"implicit\""
            }
        };
        SourceError::Lost(format!("{who}: connected, but the server did not answer within {limit:?}; {advice}"))
    }
}

/// A socket, with or without TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Shakes hands with `host`, whose certificate the authorities in `ca_file` vouch for, or else the system's. Shows what
/// is in the PEM file `certificate` where the server asks for it. `who` opens every error; `otherwise` is what to do
/// where the server speaks no TLS on this port.
///
/// # Errors
/// [`SourceError::Refused`] for certificates and settings that stay wrong, [`SourceError::Lost`] for the rest.
pub async fn handshake(
    stream: Box<dyn Stream>,
    host: &str,
    ca_file: Option<&Path>,
    certificate: Option<&Path>,
    who: &str,
    otherwise: &str,
) -> Result<Box<dyn Stream>, SourceError> {
    let refused = |why: String| SourceError::Refused(format!("{who}: {why}"));
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| refused("the host is neither a DNS name nor an address; correct it".into()))?;
    let config = client_config(ca_file, certificate).map_err(refused)?;
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(explain(&error, who, otherwise)),
    }
}

fn client_config(ca_file: Option<&Path>, certificate: Option<&Path>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS can't be set up: {error}"))?;
    let verified = match ca_file {
        None => builder
            .with_platform_verifier()
            .map_err(|error| format!("no system certificates ({error}); install ca-certificates or set ca_file"))?,
        Some(file) => builder.with_root_certificates(roots(file)?),
    };
    let Some(file) = certificate else { return Ok(verified.with_no_client_auth()) };
    let (chain, key) = of_client(file)?;
    verified.with_client_auth_cert(chain, key).map_err(|error| unusable_certificate(file, &error))
}

fn unusable_certificate(file: &Path, why: &dyn std::fmt::Display) -> String {
    format!("can't use certificate {}: {why}", file.display())
}

/// What a client shows: a certificate and those that vouch for it, and its key.
fn of_client(file: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let unusable = |why: &dyn std::fmt::Display| unusable_certificate(file, why);
    let chain = CertificateDer::pem_file_iter(file).map_err(|e| unusable(&e))?.collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|e| unusable(&e))?;
    if chain.is_empty() {
        return Err(unusable(&NO_CERTIFICATE));
    }
    let key = PrivateKeyDer::from_pem_file(file)
        .map_err(|_| unusable(&"it holds no private key in PEM form; the file takes certificate and key"))?;
    Ok((chain, key))
}

/// What is wrong with these files as far as they tell alone, in one line.
pub(super) fn unusable_file(ca_file: Option<&Path>, certificate: Option<&Path>) -> Option<String> {
    let authorities = ca_file.and_then(|file| roots(file).err());
    authorities.or_else(|| certificate.and_then(|file| of_client(file).err()))
}

const NO_CERTIFICATE: &str = "it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)";

/// The authorities of a PEM file.
fn roots(file: &Path) -> Result<RootCertStore, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("can't use ca_file {}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| unreadable(&e))? {
        let certificate = certificate.map_err(|e| unreadable(&e))?;
        roots.add(certificate).map_err(|e| unreadable(&e))?;
    }
    if roots.is_empty() {
        return Err(unreadable(&NO_CERTIFICATE));
    }
    Ok(roots)
}

/// Why a server could not be reached at all.
pub(super) fn unreachable(who: &str, error: &io::Error) -> SourceError {
    SourceError::Lost(format!("{who}: can't connect: {error}; check host and port, and whether the server is up"))
}

/// What to do about a mailbox whose server speaks no TLS on its port.
pub(super) const NO_TLS_OF_MAILBOX: &str = "correct port, or set tls = \"starttls\"";

fn explain(error: &io::Error, who: &str, otherwise: &str) -> SourceError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            SourceError::Refused(format!("{who}: the server's certificate was not accepted: {}", unaccepted(why)))
        }
        // Or it speaks it badly for a moment, as a proxy does whose server is away.
        Some(rustls::Error::InvalidMessage(_)) => {
            SourceError::Lost(format!("{who}: the server does not speak TLS on this port; {otherwise}"))
        }
        _ => SourceError::Lost(format!("{who}: TLS failed: {error}")),
    }
}

/// What is wrong with a certificate, and what to do.
fn unaccepted(why: &CertificateError) -> String {
    let day = |time: &UnixTime| jiff::Timestamp::from_second(time.as_secs().cast_signed()).unwrap_or_default();
    match why {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("it ran out at {}; renew it on the server, or set this machine's clock", day(not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("it does not hold before {}; set this machine's clock, or the server's", day(not_before))
        }
        CertificateError::NotValidForNameContext { .. } => {
            format!("{why}; reach the server by a name that stands in it: correct host")
        }
        // The latter where an authority that is trusted has the same name as the one that signed it.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "no authority that is trusted vouches for it; name its authority, or itself where it signed itself, in ca_file"
                .to_owned()
        }
        CertificateError::Other(other) if is_authority(other) => {
            "it is an authority's own (CA:TRUE), as `openssl req -x509` makes them, and no server may show that; make one \
             with CA:FALSE (docs/configuration.md, Certificates), and name it in ca_file"
                .to_owned()
        }
        other => format!("{other}; let the server show another, or name its authority in ca_file"),
    }
}

fn is_authority(error: &rustls::OtherError) -> bool {
    matches!(error.0.downcast_ref(), Some(PathError::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

    use super::*;

    /// A certificate for `host`, signed by itself, and the PEM file that vouches for it.
    fn certificate(host: &str) -> (TlsAcceptor, tempfile::TempDir) {
        certificate_with(host, |_| ())
    }

    fn certificate_with(host: &str, change: impl Fn(&mut CertificateParams)) -> (TlsAcceptor, tempfile::TempDir) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        change(&mut params);
        let signed = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), signed.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.der().clone()], key)
            .unwrap();
        (TlsAcceptor::from(Arc::new(config)), dir)
    }

    /// Shakes hands with a server that has a certificate for `localhost`.
    async fn shake(host: &str, ca_file: &Path) -> Result<(), SourceError> {
        shake_with(certificate("localhost"), host, ca_file).await
    }

    async fn shake_with(
        (acceptor, dir): (TlsAcceptor, tempfile::TempDir),
        host: &str,
        ca_file: &Path,
    ) -> Result<(), SourceError> {
        let (client, server) = duplex(1 << 16);
        let server = tokio::spawn(async move {
            let mut stream = acceptor.accept(server).await.ok()?;
            stream.write_all(b"hello").await.ok()
        });
        let ca_file = if ca_file == Path::new("") { dir.path().join("ca.pem") } else { dir.path().join(ca_file) };
        let mut stream = handshake(Box::new(client), host, Some(&ca_file), None, "u at h:1", "correct it").await?;
        let mut said = [0; 5];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!((&said, server.await.unwrap()), (b"hello", Some(())));
        Ok(())
    }

    fn refusal(result: Result<(), SourceError>) -> String {
        match result {
            Err(SourceError::Refused(line)) if line.starts_with("u at h:1: ") && !line.contains('\n') => line,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_certificate_is_accepted_for_its_own_name_alone() {
        shake("localhost", Path::new("")).await.unwrap();
        let line = refusal(shake("elsewhere.example.org", Path::new("")).await);
        assert!(line.contains("only valid for DnsName(\"localhost\")") && line.contains("correct host"), "{line}");
        let line = refusal(shake("no name", Path::new("")).await);
        assert!(line.contains("neither a DNS name nor an address"), "{line}");
    }

    #[tokio::test]
    async fn a_certificate_that_nobody_vouches_for_is_refused() {
        let (_, other) = certificate("localhost");
        let line = refusal(shake("localhost", &other.path().join("ca.pem")).await);
        assert!(line.contains("certificate was not accepted") && line.contains("in ca_file"), "{line}");
        let (client, _server) = duplex(1 << 16);
        let unreadable = Path::new("/nonexistent/ca.pem");
        let refused = handshake(Box::new(client), "localhost", Some(unreadable), None, "u at h:1", "correct it").await;
        assert!(refusal(refused.map(drop)).contains("/nonexistent/ca.pem"));
        let line = refusal(shake("localhost", Path::new("key.pem")).await);
        assert!(line.contains("holds no certificate"), "{line}");
    }

    /// A certificate that is changed so, in a file that vouches for it, is refused with these words and none of those.
    #[tokio::test]
    async fn what_is_wrong_with_a_certificate_has_its_own_advice() {
        type Change = fn(&mut CertificateParams);
        for (change, words, not) in [
            (
                (|params| params.not_after = date_time_ymd(2001, 2, 3)) as Change,
                "it ran out at 2001-02-03T00:00:00Z; renew it on the server",
                "ca_file",
            ),
            (|params| params.not_before = date_time_ymd(3001, 2, 3), "does not hold before 3001-02-03", "ca_file"),
            (|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "make one with CA:FALSE", "host"),
        ] {
            let changed = certificate_with("localhost", change);
            let line = refusal(shake_with(changed, "localhost", Path::new("")).await);
            assert!(line.contains("certificate was not accepted") && line.contains(words), "{line}");
            assert!(!line.replace("localhost", "").contains(not), "{line}");
        }
    }

    #[tokio::test]
    async fn a_server_that_speaks_no_tls_or_goes_away_may_do_better_later() {
        for (said, lost) in [("* OK hello\r\n", false), ("", true)] {
            let (_, dir) = certificate("localhost");
            let (client, mut server) = duplex(1 << 16);
            server.write_all(said.as_bytes()).await.unwrap();
            let _open = (!lost).then_some(server);
            let ca_file = dir.path().join("ca.pem");
            let result = handshake(Box::new(client), "localhost", Some(&ca_file), None, "u at h:1", "correct it")
                .await
                .map(drop);
            match result {
                Err(SourceError::Lost(line)) if lost => assert!(line.contains("TLS failed"), "{line}"),
                Err(SourceError::Lost(line)) => {
                    assert!(line.ends_with("does not speak TLS on this port; correct it"), "{line}")
                }
                other => panic!("{said}: {other:?}"),
            }
        }
    }
}
