//! Logging in with access tokens: a real Dovecot asks the tests' own token server whether a token is good, and that
//! server gives, rotates, refuses, slows down and lies as it is told.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "support/dovecot.rs"]
mod dovecot;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use bounced::{
    message::Resume,
    source::{
        Source, SourceError,
        imap::{ImapSettings, ImapSource},
    },
};
use dovecot::{Dovecot, USER};

/// What somebody sent to the token server.
type Form = BTreeMap<String, String>;

/// What it answers to the next forms at a path.
#[derive(Clone)]
struct Plan {
    status: u16,
    body: String,
}

#[derive(Default)]
struct State {
    /// By path, the first first; the last one stays.
    plans: BTreeMap<String, Vec<Plan>>,
    /// What came, by path.
    forms: Vec<(String, Form)>,
    /// The tokens that Dovecot is told to take.
    good: Vec<String>,
    /// Dovecot gets no answer that it understands.
    broken: bool,
    /// Where Dovecot reads whom to ask; goes away with this.
    asks: Option<tempfile::TempPath>,
}

/// A token server; introspection for Dovecot stands at /introspect.
#[derive(Clone)]
struct TokenServer {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl TokenServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let shared = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What is answered at `path` from now on.
    fn plan(&self, path: &str, plans: &[(u16, &str)]) {
        let plans = plans.iter().map(|(status, body)| Plan { status: *status, body: (*body).to_owned() }).collect();
        self.state.lock().unwrap().plans.insert(path.to_owned(), plans);
    }

    fn take(&self, token: &str) {
        self.state.lock().unwrap().good = vec![token.to_owned()];
    }

    /// What came to `path` so far.
    fn forms(&self, path: &str) -> Vec<Form> {
        let state = self.state.lock().unwrap();
        state.forms.iter().filter(|(to, _)| to == path).map(|(_, form)| form.clone()).collect()
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let form: Form = form_urlencoded::parse(&body).into_owned().collect();
        let Plan { status, body } = self.answer(&path, form)?;
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status} So\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .ok()
    }

    /// `None`: the connection just ends.
    fn answer(&self, path: &str, form: Form) -> Option<Plan> {
        let mut state = self.state.lock().unwrap();
        if path == "/introspect" {
            // 200 for a bad token, too: all else Dovecot takes for its own trouble.
            let body = match form.get("token") {
                Some(token) if state.good.contains(token) => format!(r#"{{"active":true,"email":"{USER}"}}"#),
                _ => r#"{"active":false}"#.to_owned(),
            };
            return Some(Plan { status: if state.broken { 500 } else { 200 }, body });
        }
        state.forms.push((path.to_owned(), form));
        let plans = state.plans.get_mut(path)?;
        if plans.len() > 1 { Some(plans.remove(0)) } else { plans.first().cloned() }
    }
}

/// A Dovecot that takes the tokens that `tokens` knows.
fn server(tokens: &TokenServer) -> Option<Dovecot> {
    let conf = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    fs::write(
        &conf,
        format!(
            "introspection_mode = post\nintrospection_url = {}\nusername_attribute = email\nactive_attribute = active\n\
             active_value = true\n",
            tokens.url("/introspect")
        ),
    )
    .unwrap();
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o644)).unwrap();
    let server = Dovecot::with(&format!(
        "auth_mechanisms = plain login xoauth2 oauthbearer\nauth_failure_delay = 0\npassdb {{\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = {}\n}}\n\
         service anvil {{\n  chroot =\n  unix_listener anvil-auth-penalty {{\n    mode = 0\n  }}\n}}\n",
        conf.display()
    ));
    tokens.state.lock().unwrap().asks = Some(conf);
    let version = Command::new("/usr/sbin/dovecot").arg("--version").output();
    if version.is_ok_and(|output| output.stdout.starts_with(b"2.4")) {
        println!("skipped: Dovecot 2.4 configures OAuth2 in another way");
        return None;
    }
    server
}

fn settings(server: &Dovecot, token: &str, more: &str) -> ImapSettings {
    toml::from_str(&section(server, token, more)).unwrap()
}

fn section(server: &Dovecot, token: &str, more: &str) -> String {
    format!(
        "host = 'localhost'\nport = {}\nuser = '{USER}'\nca_file = '{}'\npoll = '10m'\ntoken = {{ {token} }}\n{more}",
        server.imaps,
        server.ca_file().display()
    )
}

async fn open(source: &mut ImapSource) -> Result<(), SourceError> {
    let result = source.open(Resume::default()).await;
    source.close().await;
    result
}

async fn opened(server: &Dovecot, token: &str, more: &str) -> Result<(), SourceError> {
    open(&mut ImapSource::new("test", settings(server, token, more))).await
}

/// The one line of a refusal, or of a loss.
fn told(result: Result<(), SourceError>, stays: bool) -> String {
    let line = match result {
        Err(SourceError::Refused(line)) if stays => line,
        Err(SourceError::Lost(line)) if !stays => line,
        other => panic!("{other:?}, expected that it {}", if stays { "stays" } else { "passes" }),
    };
    assert!(!line.contains('\n') && line.contains(USER) && !line.contains("geheim"), "{line}");
    line
}

fn granted(token: &str, more: &str) -> String {
    format!(r#"{{"access_token":"{token}","token_type":"Bearer"{more}}}"#)
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

/// A mailbox whose tokens come from the refresh token in `file`, with `more` keys.
fn refreshed(tokens: &TokenServer, file: &Path, more: &str) -> String {
    format!("client_id = 'app', refresh_token = '{}', token_url = '{}'{more}", file.display(), tokens.url("/token"))
}

/// A file with a key, and one with key and certificate; made by openssl, since rcgen makes no RSA keys.
fn rsa(dir: &Path) -> Option<(PathBuf, PathBuf)> {
    let (key, both) = (dir.join("key.pem"), dir.join("both.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bounced", "-days", "2", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&both)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: openssl is not installed");
        return None;
    }
    let certificate = fs::read_to_string(&both).unwrap();
    fs::write(&both, certificate + &fs::read_to_string(&key).unwrap()).unwrap();
    Some((key, both))
}

/// Header and claims of an assertion, whose signature openssl has found good.
fn verified(assertion: &str, key: &Path) -> (serde_json::Value, serde_json::Value) {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{assertion}") };
    let dir = tempfile::tempdir().unwrap();
    let public = dir.path().join("public");
    let ok = Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(key).arg("-out").arg(&public).status();
    assert!(ok.unwrap().success());
    fs::write(dir.path().join("signature"), BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    fs::write(dir.path().join("signed"), format!("{header}.{claims}")).unwrap();
    let verified = Command::new("openssl")
        .args(["dgst", "-sha256", "-verify"])
        .arg(&public)
        .arg("-signature")
        .arg(dir.path().join("signature"))
        .arg(dir.path().join("signed"))
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let read = |part| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (read(header), read(claims))
}

#[tokio::test]
async fn a_token_of_somebody_else_opens_the_mailbox_by_either_mechanism() {
    let tokens = TokenServer::start();
    let Some(server) = server(&tokens) else { return };
    tokens.take("T1");
    for mechanism in ["", "mechanism = 'xoauth2'", "mechanism = 'oauthbearer'"] {
        opened(&server, "command = 'echo T1'", mechanism).await.unwrap();
    }
    for (mechanism, said) in [("xoauth2", r#""status":"401""#), ("oauthbearer", r#""status":"401""#)] {
        let more = format!("mechanism = '{mechanism}'");
        let line = told(opened(&server, "command = 'echo geheim'", &more).await, true);
        assert!(line.contains("login failed") && line.contains("docs/oauth2.md"), "{line}");
        assert!(line.contains(said) || line.contains("invalid_token"), "{line}");
    }
    // The mail server can't ask: that passes.
    tokens.state.lock().unwrap().broken = true;
    told(opened(&server, "command = 'echo T1'", "").await, false);
}

#[tokio::test]
async fn an_application_asks_by_itself_with_secret_or_certificate() {
    let tokens = TokenServer::start();
    let Some(server) = server(&tokens) else { return };
    tokens.take("T1");
    tokens.plan("/token", &[(200, &granted("T1", r#","expires_in":"3599""#))]);
    let secret = server.dir.path().join("client-secret");
    fs::write(&secret, "geheim\n").unwrap();
    let common = format!("client_id = 'app', token_url = '{}', scope = 'mail'", tokens.url("/token"));
    let mut source = ImapSource::new(
        "test",
        settings(&server, &format!("{common}, client_secret = {{ file = '{}' }}", secret.display()), ""),
    );
    open(&mut source).await.unwrap();
    // Another login soon after needs no other token.
    open(&mut source).await.unwrap();
    let forms = tokens.forms("/token");
    assert_eq!(forms.len(), 1);
    for (name, value) in
        [("grant_type", "client_credentials"), ("client_id", "app"), ("client_secret", "geheim"), ("scope", "mail")]
    {
        assert_eq!(forms[0].get(name).map(String::as_str), Some(value), "{name}");
    }
    let Some((key, both)) = rsa(server.dir.path()) else { return };
    opened(&server, &format!("{common}, certificate = '{}'", both.display()), "").await.unwrap();
    let form = tokens.forms("/token").pop().unwrap();
    assert!(!form.contains_key("client_secret") && form["client_assertion_type"].ends_with("jwt-bearer"));
    let (header, claims) = verified(&form["client_assertion"], &key);
    assert_eq!((header["alg"].as_str(), header["x5t#S256"].as_str().map(str::len)), (Some("RS256"), Some(43)));
    assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some("app"), Some("app")));
    assert_eq!(claims["aud"], tokens.url("/token").as_str());
    let line = told(opened(&server, &format!("{common}, certificate = '{}'", key.display()), "").await, true);
    assert!(line.contains("no certificate in PEM form"), "{line}");
}

#[tokio::test]
async fn a_service_account_signs_for_the_mailbox() {
    let tokens = TokenServer::start();
    let Some(server) = server(&tokens) else { return };
    let Some((key, _)) = rsa(server.dir.path()) else { return };
    tokens.take("T1");
    tokens.plan("/token", &[(200, &granted("T1", ""))]);
    let file = server.dir.path().join("account.json");
    let account = serde_json::json!({
        "type": "service_account", "client_email": "robot@project.example", "private_key_id": "k7",
        "private_key": fs::read_to_string(&key).unwrap(), "token_uri": tokens.url("/token"),
    });
    fs::write(&file, account.to_string()).unwrap();
    let token = format!("service_account = '{}', scope = 'mail'", file.display());
    opened(&server, &token, "").await.unwrap();
    let form = tokens.forms("/token").pop().unwrap();
    assert!(form["grant_type"].ends_with("jwt-bearer"));
    let (header, claims) = verified(&form["assertion"], &key);
    assert_eq!(header["kid"], "k7");
    assert_eq!(
        (claims["iss"].as_str(), claims["sub"].as_str(), claims["scope"].as_str()),
        (Some("robot@project.example"), Some(USER), Some("mail"))
    );
    tokens.plan("/token", &[(400, r#"{"error":"invalid_grant","error_description":"Invalid email or User ID"}"#)]);
    let line = told(opened(&server, &token, "").await, true);
    assert!(line.contains("Invalid email or User ID") && line.contains("check `user`"), "{line}");
    fs::write(&file, "{}").unwrap();
    let line = told(opened(&server, &token, "").await, true);
    assert!(line.contains("not the JSON file of a service account's key"), "{line}");
}

#[tokio::test]
async fn a_refresh_token_that_rotates_is_kept_before_it_is_used() {
    let tokens = TokenServer::start();
    let Some(server) = server(&tokens) else { return };
    let file = server.dir.path().join("refresh");
    let token = refreshed(&tokens, &file, "");
    let line = told(opened(&server, &token, "").await, true);
    assert!(line.contains("nobody has consented yet") && line.contains("`bounced login test`"), "{line}");

    fs::write(&file, r#"{"refresh_token":"geheim1","since":0}"#).unwrap();
    tokens.take("T1");
    tokens.plan("/token", &[(200, &granted("T1", r#","refresh_token":"geheim2","expires_in":300"#))]);
    let mut source = ImapSource::new("test", settings(&server, &token, ""));
    open(&mut source).await.unwrap();
    assert!(fs::read_to_string(&file).unwrap().contains("geheim2"));
    assert_eq!(mode(&file), 0o600);
    // It runs out within ten minutes: the next login has another one, by the refresh token that came last.
    open(&mut source).await.unwrap();
    let used: Vec<String> = tokens.forms("/token").iter().map(|form| form["refresh_token"].clone()).collect();
    assert_eq!(used, ["geheim1", "geheim2"]);

    // Where the new one can't be kept, here because no longer name can stand beside it, the access token is not used.
    let file = server.dir.path().join("r".repeat(250));
    fs::write(&file, r#"{"refresh_token":"geheim1","since":0}"#).unwrap();
    let token = refreshed(&tokens, &file, "");
    let line = told(opened(&server, &token, "").await, false);
    assert!(line.contains("can't be kept"), "{line}");
}

#[tokio::test]
async fn what_the_token_server_says_is_told_with_its_cure_and_what_passes_passes() {
    let tokens = TokenServer::start();
    let Some(server) = server(&tokens) else { return };
    tokens.take("T1");
    let file = server.dir.path().join("refresh");
    fs::write(&file, r#"{"refresh_token":"geheim1","since":0}"#).unwrap();
    let token = refreshed(&tokens, &file, "");
    for (status, body, stays, expected) in [
        (
            400,
            r#"{"error":"invalid_grant","error_description":"AADSTS70008: geheim1\r\nTrace"}"#,
            true,
            "`bounced login test`",
        ),
        (400, r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#, true, "Testing"),
        (401, r#"{"error":"invalid_client","error_description":"AADSTS7000222: …"}"#, true, "has run out"),
        (401, r#"{"error":"invalid_client","error_description":"AADSTS7000215: …"}"#, true, "not its ID"),
        (400, r#"{"error":"something_new"}"#, true, "something_new"),
        (503, "busy", false, "HTTP 503"),
        (429, "{}", false, "HTTP 429"),
        (400, r#"{"error":"temporarily_unavailable"}"#, false, "temporarily_unavailable"),
        (200, "<html>log in to the network</html>", false, "HTTP 200"),
        (200, r#"{"access_token":""}"#, false, "HTTP 200"),
    ] {
        tokens.plan("/token", &[(status, body)]);
        let line = told(opened(&server, &token, "").await, stays);
        assert!(line.contains(expected), "{body}: {line}");
    }
    // More than anybody's token, nothing at all, and nobody there.
    let huge = granted(&"x".repeat(300 << 10), "");
    tokens.plan("/token", &[(200, &huge)]);
    told(opened(&server, &token, "").await, false);
    tokens.state.lock().unwrap().plans.clear();
    told(opened(&server, &token, "").await, false);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    let deaf = token.replace(&tokens.url("/token"), &format!("http://127.0.0.1:{port}/token"));
    let line = told(opened(&server, &deaf, "timeouts = { connect = '300ms' }").await, false);
    assert!(line.contains("no answer within"), "{line}");
    let open = token.replace(&tokens.url("/token"), "http://192.0.2.1/token");
    let line = told(opened(&server, &open, "timeouts = { connect = '300ms' }").await, true);
    assert!(line.contains("secrets go over https:// only"), "{line}");
}

#[tokio::test]
async fn a_token_that_is_no_longer_taken_is_replaced() {
    let tokens = TokenServer::start();
    let Some(server) = server(&tokens) else { return };
    let token =
        format!("client_id = 'app', client_secret = {{ env = 'PATH' }}, token_url = '{}'", tokens.url("/token"));
    tokens.take("T1");
    tokens.plan("/token", &[(200, &granted("T1", "")), (200, &granted("T2", ""))]);
    let mut source = ImapSource::new("test", settings(&server, &token, ""));
    open(&mut source).await.unwrap();
    tokens.take("T2");
    let line = told(open(&mut source).await, false);
    assert!(line.contains("a new token may do"), "{line}");
    open(&mut source).await.unwrap();
    // Of one that was just made nobody hopes for better.
    tokens.plan("/token", &[(200, &granted("T3", ""))]);
    told(opened(&server, &token, "").await, true);
}

#[tokio::test]
async fn a_consent_that_is_dead_is_asked_about_twice_and_then_a_person_is_waited_for() {
    let tokens = TokenServer::start();
    let Some(server) = server(&tokens) else { return };
    tokens.take("T1");
    let file = server.dir.path().join("refresh");
    fs::write(&file, r#"{"refresh_token":"geheim1","since":0}"#).unwrap();
    let token = refreshed(&tokens, &file, "");
    tokens.plan("/token", &[(400, r#"{"error":"invalid_grant"}"#)]);
    let mut source = ImapSource::new("test", settings(&server, &token, ""));
    let lines = [open(&mut source).await, open(&mut source).await, open(&mut source).await, open(&mut source).await];
    let lines = lines.map(|result| told(result, true));
    assert!(lines.iter().all(|line| *line == lines[0] && line.contains("`bounced login test`")), "{lines:?}");
    assert_eq!(tokens.forms("/token").len(), 2);
    // A person has consented meanwhile.
    fs::write(&file, r#"{"refresh_token":"geheim2","since":0}"#).unwrap();
    tokens.plan("/token", &[(200, &granted("T1", ""))]);
    open(&mut source).await.unwrap();
}

/// `bounced login test ARGS`, beside a configuration of its own.
fn login(server: &Dovecot, token: &str, args: &[&str]) -> Child {
    let config = server.dir.path().join("bounced.toml");
    let dir = server.dir.path().display();
    fs::write(
        &config,
        format!(
            "[database]\npath = '{dir}/b.db'\n[suppressions]\npath = '{dir}/s.db'\n[imap.test]\n{}",
            section(server, token, "")
        ),
    )
    .unwrap();
    Command::new(env!("CARGO_BIN_EXE_bounced"))
        .args(["login", "test", "--config"])
        .arg(&config)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The first printed line that `wanted` picks something out of.
fn printed(
    child: &mut Child,
    wanted: impl Fn(&str) -> Option<String>,
) -> (String, BufReader<std::process::ChildStdout>) {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        if out.read_line(&mut line).unwrap() == 0 {
            let mut errors = String::new();
            child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            panic!("it ended: {errors}");
        }
        if let Some(found) = wanted(line.trim()) {
            return (found, out);
        }
    }
}

fn ended(child: Child, mut out: BufReader<std::process::ChildStdout>) -> (Option<i32>, String) {
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("geheim"), "{text}");
    (output.status.code(), text)
}

fn query(url: &str) -> Form {
    form_urlencoded::parse(url.split_once('?').unwrap().1.as_bytes()).into_owned().collect()
}

fn get(url: &str) -> String {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_browser_that_consents_leaves_a_refresh_token() {
    let tokens = TokenServer::start();
    let Some(server) = server(&tokens) else { return };
    tokens.take("T1");
    let file = server.dir.path().join("refresh");
    let more = format!(", authorize_url = '{}', scope = 'mail offline_access'", tokens.url("/authorize"));
    let token = refreshed(&tokens, &file, &more);
    tokens.plan("/token", &[(200, &granted("T0", r#","refresh_token":"geheim1""#)), (200, &granted("T1", ""))]);
    let is_url = |line: &str| line.starts_with("http").then(|| line.to_owned());

    let mut child = login(&server, &token, &[]);
    let (url, out) = printed(&mut child, is_url);
    let asked = query(&url);
    assert!(url.starts_with(&tokens.url("/authorize?")), "{url}");
    assert_eq!((asked["scope"].as_str(), asked["login_hint"].as_str()), ("mail offline_access", USER));
    let redirect = &asked["redirect_uri"];
    // Whoever else knocks gets nothing and stops nothing.
    assert!(get(&format!("{redirect}favicon.ico")).starts_with("HTTP/1.1 404"));
    assert!(get(&format!("{redirect}?code=stolen&state=guessed")).starts_with("HTTP/1.1 400"));
    let shown = get(&format!("{redirect}?code=geheimcode&state={}", asked["state"]));
    assert!(shown.contains("You can close this window"), "{shown}");
    let (code, text) = ended(child, out);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("ok: test opens"), "{text}");
    assert_eq!(mode(&file), 0o600);
    let forms = tokens.forms("/token");
    assert_eq!((forms[0]["code"].as_str(), forms[0]["redirect_uri"].as_str()), ("geheimcode", redirect.as_str()));
    assert_eq!(forms[0]["code_verifier"].len(), 43);
    assert_eq!(forms[1]["refresh_token"], "geheim1");

    // Pasted, by somebody who said no.
    let mut child = login(&server, &token, &["--paste"]);
    let (url, out) = printed(&mut child, is_url);
    let state = &query(&url)["state"];
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "http://127.0.0.1:8765/?error=access_denied&error_description=No&state={state}").unwrap();
    let (code, text) = ended(child, out);
    assert_eq!(code, Some(77), "{text}");
    assert!(text.contains("access_denied: No") && text.contains("consent was refused"), "{text}");
}

#[test]
fn a_code_on_another_device_is_waited_for() {
    let tokens = TokenServer::start();
    let Some(server) = server(&tokens) else { return };
    tokens.take("T1");
    let file = server.dir.path().join("refresh");
    let token = refreshed(&tokens, &file, &format!(", device_url = '{}'", tokens.url("/device")));
    let device =
        r#"{"device_code":"geheimD","user_code":"ABCD-EFGH","verification_uri":"https://d.example","interval":0}"#;
    tokens.plan("/device", &[(200, device)]);
    tokens.plan(
        "/token",
        &[
            (400, r#"{"error":"authorization_pending"}"#),
            (400, r#"{"error":"authorization_pending"}"#),
            (200, &granted("T0", r#","refresh_token":"geheim1""#)),
            (200, &granted("T1", "")),
        ],
    );
    let mut child = login(&server, &token, &["--device"]);
    let (_, out) = printed(&mut child, |line| (line == "ABCD-EFGH").then(|| line.to_owned()));
    let (code, text) = ended(child, out);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(tokens.forms("/token")[2]["device_code"], "geheimD");
    assert!(fs::read_to_string(&file).unwrap().contains("geheim1"));

    tokens.plan("/device", &[(400, r#"{"error":"invalid_grant","error_description":"AADSTS53003: blocked"}"#)]);
    let child = login(&server, &token, &["--device"]);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("blocks this way") && text.contains("--browser"), "{text}");
}

#[test]
fn no_secret_is_in_a_log_at_its_most_talkative() {
    let tokens = TokenServer::start();
    let Some(server) = server(&tokens) else { return };
    tokens.take("geheimT1");
    let file = server.dir.path().join("refresh");
    fs::write(&file, r#"{"refresh_token":"geheim1","since":0}"#).unwrap();
    let token = refreshed(&tokens, &file, ", client_secret = { env = 'GEHEIM' }");
    tokens.plan("/token", &[(200, &granted("geheimT1", r#","refresh_token":"geheim2""#))]);
    let dir = server.dir.path();
    fs::write(
        dir.join("bounced.toml"),
        format!(
            "[database]\npath = '{0}/b.db'\n[suppressions]\npath = '{0}/s.db'\n[log]\nlevel = 'trace'\n[imap.test]\n{1}",
            dir.display(),
            section(&server, &token, "")
        ),
    )
    .unwrap();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_bounced"))
        .args(["run", "--config"])
        .arg(dir.join("bounced.toml"))
        .env("GEHEIM", "geheim0")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    let mut lines = BufReader::new(daemon.stderr.take().unwrap());
    while !log.contains("folder opened") {
        assert_ne!(lines.read_line(&mut log).unwrap(), 0, "it ended: {log}");
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    lines.read_to_string(&mut log).unwrap();
    assert!(log.contains("TRACE"), "{log}");
    let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, "auth=Bearer geheimT1");
    assert!(!log.contains("geheim") && !log.contains(&base64[4..16]), "{log}");
}
