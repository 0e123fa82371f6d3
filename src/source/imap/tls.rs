//! A socket -> the same with TLS around it, once the server has proved its name.

use std::{io, sync::Arc};

use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig, RootCertStore, crypto::ring},
};

use super::connection::Stream;
use crate::source::{ImapSettings, SourceError};

/// Shakes hands. `who` opens every error.
///
/// # Errors
/// [`SourceError::Refused`] for certificates and settings that stay wrong, [`SourceError::Lost`] for the rest.
pub(super) async fn handshake(
    stream: Box<dyn Stream>,
    settings: &ImapSettings,
    who: &str,
) -> Result<Box<dyn Stream>, SourceError> {
    let refused = |why: String| SourceError::Refused(format!("{who}: {why}"));
    let name = ServerName::try_from(settings.host.clone())
        .map_err(|_| refused("the host is neither a DNS name nor an address; correct it".into()))?;
    let config = client_config(settings).map_err(refused)?;
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(explain(&error, who)),
    }
}

fn client_config(settings: &ImapSettings) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS can't be set up: {error}"))?;
    let Some(file) = &settings.ca_file else {
        let verified = builder.with_platform_verifier();
        return Ok(verified
            .map_err(|error| format!("no system certificates ({error}); install ca-certificates or set ca_file"))?
            .with_no_client_auth());
    };
    let unreadable = |error: &dyn std::fmt::Display| format!("can't use ca_file {}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| unreadable(&e))? {
        let certificate = certificate.map_err(|e| unreadable(&e))?;
        roots.add(certificate).map_err(|e| unreadable(&e))?;
    }
    if roots.is_empty() {
        return Err(unreadable(&"it holds no certificate in PEM form"));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn explain(error: &io::Error, who: &str) -> SourceError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => SourceError::Refused(format!(
            "{who}: the server's certificate was not accepted ({why}); correct host, or name its authority in ca_file"
        )),
        Some(rustls::Error::InvalidMessage(_)) => SourceError::Refused(format!(
            "{who}: the server does not speak TLS on this port; set port (often 993), or tls = \"starttls\""
        )),
        _ => SourceError::Lost(format!("{who}: TLS failed: {error}")),
    }
}
