//! What is asked of token servers, and what they answer (RFC 6749, 7523, 7636, 8628). Pure but for random octets.

use std::path::Path;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{rand::SystemRandom, rsa, signature::RSA_PKCS1_SHA256};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::provider;
use crate::{
    source::{Secret, SourceError, http::Answer},
    text::printable,
};

/// RFC 7523 §2.2.
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// RFC 7523 §2.1.
pub(super) const JWT_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// RFC 8628 §3.4.
pub(super) const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// An assertion is used at once; so many seconds are for clocks that differ.
const ASSERTION_SECONDS: i64 = 600;

/// How long a token holds whose server does not say it.
const USUAL_SECONDS: i64 = 3600;

/// What a token server gave.
#[derive(Debug)]
pub(super) struct Granted {
    pub token: Secret,
    /// When the token runs out, in seconds since 1970.
    pub until: i64,
    /// The refresh token that holds from now on, where a new one was given.
    pub refresh: Option<Secret>,
}

/// RFC 6749 §5, RFC 8628 §3.2: all that a token server may answer.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Fields {
    access_token: Option<String>,
    refresh_token: Option<String>,
    /// Some send it as text.
    expires_in: Value,
    error: Option<String>,
    error_description: Option<String>,
}

/// What a token server refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied {
    /// RFC 6749 §5.2: `invalid_grant`.
    pub error: String,
    /// `invalid_grant: what the server says about it`.
    said: String,
    /// It may do better later.
    passes: bool,
}

impl Denied {
    /// What a browser was sent back with in place of a code (RFC 6749 §4.1.2.1).
    pub(super) fn by_browser(error: String, description: Option<String>) -> Self {
        let passes = passes(&error);
        let said = one_line(&description.map_or_else(|| error.clone(), |text| format!("{error}: {text}")));
        Self { error, said, passes }
    }

    /// In words for people, with what to do about it; `url` was asked in this `way`, and `login` is the command by which
    /// a person consents anew.
    pub(super) fn explain(self, url: &str, way: &str, login: &str) -> SourceError {
        let Self { said, passes, .. } = self;
        if passes {
            return SourceError::Lost(format!("{url}: {said}"));
        }
        let advice = provider::advice(&said, way, login);
        SourceError::Refused(match advice {
            Some(advice) => format!("{url} gave no token ({said}): {advice}"),
            None => format!("{url} gave no token ({said}); check `token`"),
        })
    }
}

/// Reads what a token server answered at `now`. What it repeats of `secrets` is masked.
pub(super) fn read(answer: &Answer, now: i64, secrets: &[Secret]) -> Result<Granted, Denied> {
    let fields: Option<Fields> = serde_json::from_slice(&answer.body).ok();
    let is_answer = fields.is_some();
    let fields = fields.unwrap_or_default();
    if (200..300).contains(&answer.status)
        && let Some(token) = fields.access_token.filter(|token| !token.is_empty())
    {
        let seconds = fields.expires_in.as_i64().or_else(|| fields.expires_in.as_str()?.trim().parse().ok());
        let until = now.saturating_add(seconds.filter(|&seconds| seconds > 0).unwrap_or(USUAL_SECONDS));
        let refresh = fields.refresh_token.filter(|token| !token.is_empty()).map(Secret::new);
        return Ok(Granted { token: Secret::new(token), until, refresh });
    }
    let error = fields.error.unwrap_or_default();
    let mut said = match (&fields.error_description, error.is_empty()) {
        (Some(description), _) => format!("{error}: {description}"),
        (None, false) => error.clone(),
        (None, true) => format!("HTTP {}", answer.status),
    };
    for secret in secrets.iter().filter(|secret| !secret.expose().is_empty()) {
        said = secret.mask(&said);
    }
    let said = one_line(&said);
    // RFC 9110 §15.6. What is no answer of a token server came from something before it.
    let passes = passes(&error)
        || answer.status >= 500
        || matches!(answer.status, 408 | 425 | 429)
        || !is_answer
        || (error.is_empty() && (200..300).contains(&answer.status));
    Err(Denied { error, said, passes })
}

/// A person reads one line; some servers send traces along.
fn one_line(said: &str) -> String {
    let words: Vec<&str> = said.split_whitespace().collect();
    printable(&words.join(" ").chars().take(400).collect::<String>())
}

/// RFC 6749 §4.1.2.1: errors that say "later", not "never".
fn passes(error: &str) -> bool {
    matches!(error, "temporarily_unavailable" | "server_error")
}

/// Something that nobody can guess (RFC 7636 §4.1, RFC 6749 §10.12), in 43 characters.
pub(super) fn unguessable() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// RFC 7636 §4.2: what is told first of a verifier that is told later.
pub(super) fn challenge(verifier: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// A key that signs assertions.
pub(super) struct Signer {
    key: rsa::KeyPair,
    header: Value,
}

impl Signer {
    /// The key of a PEM file that holds it and its certificate.
    ///
    /// # Errors
    /// What is wrong with the file, without a word of it.
    pub(super) fn of_certificate(file: &Path) -> Result<Self, String> {
        let wrong = |why: &str| format!("certificate {}: {why}", file.display());
        let pem = std::fs::read(file).map_err(|error| wrong(&error.to_string()))?;
        let certificate = CertificateDer::from_pem_slice(&pem)
            .map_err(|_| wrong("it holds no certificate in PEM form; the file takes certificate and key"))?;
        let digest = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate));
        let key = private_key(&pem).map_err(wrong)?;
        Ok(Self { key, header: json!({ "alg": "RS256", "typ": "JWT", "x5t#S256": digest }) })
    }

    /// The key that a provider gave for a service account.
    pub(super) fn of_account(pem: &str, id: Option<&str>) -> Result<Self, &'static str> {
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(id) = id {
            header["kid"] = id.into();
        }
        Ok(Self { key: private_key(pem.as_bytes())?, header })
    }

    /// An assertion (RFC 7523 §3) of `issuer` about `subject`, for the server at `audience`, made at `now`.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(super) fn assertion(
        &self,
        issuer: &str,
        subject: &str,
        audience: &str,
        scope: Option<&str>,
        now: i64,
    ) -> Result<Secret, String> {
        let mut claims = json!({
            "iss": issuer, "sub": subject, "aud": audience, "iat": now, "nbf": now, "exp": now + ASSERTION_SECONDS,
            "jti": unguessable(),
        });
        if let Some(scope) = scope {
            claims["scope"] = scope.into();
        }
        let [header, claims] = [&self.header, &claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the assertion can't be signed: no randomness".to_owned())?;
        Ok(Secret::new(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))))
    }
}

fn private_key(pem: &[u8]) -> Result<rsa::KeyPair, &'static str> {
    let key = match PrivateKeyDer::from_pem_slice(pem).map_err(|_| "it holds no private key in PEM form")? {
        PrivateKeyDer::Pkcs8(key) => rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => rsa::KeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err("its key is not RSA"),
    };
    key.map_err(|_| "its key is not RSA of 2048 to 4096 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Result<Granted, Denied> {
        read(&Answer { status, body: body.to_owned().into() }, 1000, &[Secret::new("geheim".into())])
    }

    #[test]
    fn a_token_comes_with_its_time_in_any_form() {
        for (expires, until) in [
            (r#","expires_in":3599"#, 4599),
            (r#","expires_in":"3599""#, 4599),
            ("", 4600),
            (r#","expires_in":0"#, 4600),
        ] {
            let granted = answered(200, &format!(r#"{{"access_token":"T","token_type":"Bearer"{expires}}}"#)).unwrap();
            assert_eq!((granted.token.expose(), granted.until), ("T", until), "{expires}");
            assert!(granted.refresh.is_none());
        }
        let rotated = answered(200, r#"{"access_token":"T","refresh_token":"R"}"#).unwrap();
        assert_eq!(rotated.refresh.unwrap().expose(), "R");
    }

    #[test]
    fn what_passes_is_told_from_what_stays() {
        for (status, body, passes) in [
            (400, r#"{"error":"invalid_grant","error_description":"AADSTS70008: expired"}"#, false),
            (401, r#"{"error":"invalid_client"}"#, false),
            (400, r#"{"error":"temporarily_unavailable"}"#, true),
            (500, r#"{"error":"invalid_grant"}"#, true),
            (429, r#"{}"#, true),
            (404, "<html>proxy</html>", true),
            (200, "{}", true),
            (200, r#"{"access_token":""}"#, true),
            (404, "{}", false),
        ] {
            let denied = answered(status, body).unwrap_err();
            let lost = matches!(denied.explain("https://t", "refresh_token", "L"), SourceError::Lost(_));
            assert_eq!(lost, passes, "{status} {body}");
        }
    }

    #[test]
    fn what_was_said_is_one_line_without_secrets() {
        let body = r#"{"error":"invalid_grant","error_description":"geheim\r\nTrace ID: 7"}"#;
        let told =
            answered(400, body).unwrap_err().explain("https://t", "refresh_token", "bounced login b").to_string();
        assert_eq!(
            told,
            "https://t gave no token (invalid_grant: *** Trace ID: 7): the refresh token or the consent is dead: run \
             `bounced login b`"
        );
    }

    #[test]
    fn a_verifier_is_proved_by_its_challenge() {
        // RFC 7636 appendix B.
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        assert_ne!(unguessable(), unguessable());
        assert_eq!(unguessable().len(), 43);
    }
}
