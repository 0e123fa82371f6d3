//! A socket that clients connect to, and a task for each of them. A socket file that nobody listens on any more is
//! replaced, as is that of a daemon of the same database that hangs; one on which somebody else listens is left alone.

use std::{
    collections::HashSet,
    fs, io,
    net::SocketAddr,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    session::{Desk, Handed, speak},
    settings::{Listen, LmtpSettings},
};
use crate::{files::directory_of, source::SourceError};

/// The mode of a socket's file: its owner and its group may connect.
const DEFAULT_MODE: u32 = 0o660;
/// Whoever is too many hears so, unless he does not listen.
const REFUSAL: Duration = Duration::from_secs(1);
/// When the process can open no more files, for instance.
const PAUSE: Duration = Duration::from_millis(200);
/// Whoever listens greets a client at once, or says why not. One who says nothing for so long hangs.
const GREETING: Duration = Duration::from_secs(10);

/// Takes connections until it is stopped or dropped.
#[derive(Debug)]
pub(super) struct Listener {
    stopping: CancellationToken,
    task: JoinHandle<()>,
    /// The file of the socket, and which one it was.
    file: Option<(PathBuf, u64)>,
}

enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// `worked` says whether it ever did: whoever is in the way then may be about to go.
    pub(super) async fn start(
        mailbox: &str,
        settings: &LmtpSettings,
        worked: bool,
        handed: mpsc::Sender<Handed>,
        is_open: Arc<AtomicBool>,
    ) -> Result<Self, SourceError> {
        let (socket, file) = match &settings.listen {
            Listen::Unix(path) => {
                if make_way(path, worked).await? == Way::OfOneWhoHangs {
                    let socket = &settings.listen;
                    tracing::warn!(
                        mailbox,
                        "whoever listens on {socket} greets nobody: he hangs, and the socket is made anew"
                    );
                }
                let socket = bind(path, settings.mode.unwrap_or(DEFAULT_MODE))?;
                let inode = fs::symlink_metadata(path).map_or(0, |file| file.ino());
                (Socket::Unix(socket), Some((path.clone(), inode)))
            }
            Listen::Tcp(address) => {
                let bound = bind_port(&settings.listen, *address, worked).await?;
                (Socket::Tcp(bound), None)
            }
        };
        let stopping = CancellationToken::new();
        let desk = Desk {
            mailbox: mailbox.to_owned(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            max_message: settings.max_message as usize,
            recipients: settings.recipients,
            timeout: settings.timeout,
            handed,
            is_open,
            stopping: stopping.clone(),
        };
        let task = tokio::spawn(listen(socket, Arc::new(desk), settings.connections));
        Ok(Self { stopping, task, file })
    }

    /// Whether the socket is still the one that clients find at its path.
    pub(super) fn can_be_found(&self) -> bool {
        let Some((path, inode)) = &self.file else { return true };
        fs::symlink_metadata(path).is_ok_and(|file| file.ino() == *inode)
    }

    /// Takes nobody any more, and waits until all clients have heard so.
    pub(super) async fn stop(mut self) {
        self.stopping.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stopping.cancel();
        if let Some((path, _)) = self.file.as_ref().filter(|_| self.can_be_found()) {
            // One that stays behind is replaced by the next start.
            let _ = fs::remove_file(path);
        }
    }
}

async fn listen(socket: Socket, desk: Arc<Desk>, connections: usize) {
    let free = Arc::new(Semaphore::new(connections));
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = desk.stopping.cancelled() => break,
            Some(_) = clients.join_next() => continue,
            accepted = accept(&socket) => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(mailbox = desk.mailbox, "a connection was not taken: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match (Arc::clone(&free).try_acquire_owned(), stream) {
            (Ok(place), stream) => {
                let desk = Arc::clone(&desk);
                clients.spawn(async move {
                    let mailbox = desk.mailbox.clone();
                    let ended = match stream {
                        Stream::Unix(stream) => speak(stream, desk).await,
                        Stream::Tcp(stream) => speak(stream, desk).await,
                    };
                    if let Err(error) = ended {
                        tracing::debug!(mailbox, "an LMTP client is gone: {error}");
                    }
                    drop(place);
                });
            }
            // All at once: whoever waits here holds up the others.
            (Err(_), Stream::Unix(mut stream)) => {
                let _ = timeout(REFUSAL, stream.write_all(TOO_MANY)).await;
            }
            (Err(_), Stream::Tcp(mut stream)) => {
                let _ = timeout(REFUSAL, stream.write_all(TOO_MANY)).await;
            }
        }
    }
    while clients.join_next().await.is_some() {}
}

const TOO_MANY: &[u8] = b"421 4.3.2 Too many connections\r\n";

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

async fn accept(socket: &Socket) -> io::Result<Stream> {
    match socket {
        Socket::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        Socket::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            // Replies are short, and the client waits for each of them.
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
    }
}

async fn bind_port(listen: &Listen, address: SocketAddr, worked: bool) -> Result<TcpListener, SourceError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => taken(listen, worked),
        _ => cannot(listen, &error),
    })
}

/// Makes the socket under another name, and moves it to its place when it has its mode: nobody finds it sooner.
fn bind(path: &Path, mode: u32) -> Result<UnixListener, SourceError> {
    let listen = Listen::Unix(path.to_owned());
    let cannot = |error: io::Error| cannot(&listen, &error);
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // Of a start that was killed.
    if fs::symlink_metadata(&new).is_ok_and(|file| file.file_type().is_socket()) {
        fs::remove_file(&new).map_err(cannot)?;
    }
    let socket = UnixListener::bind(&new).map_err(cannot)?;
    let placed = fs::set_permissions(&new, fs::Permissions::from_mode(mode)).and_then(|()| fs::rename(&new, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&new);
        return Err(cannot(error));
    }
    Ok(socket)
}

/// What is where our socket shall be.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// Nothing, or what a process left that is gone.
    Free,
    /// A socket of which nobody takes care: that of a daemon of the same database.
    OfOneWhoHangs,
}

/// Whether there may be a socket of ours at a path.
async fn make_way(path: &Path, worked: bool) -> Result<Way, SourceError> {
    let Ok(there) = fs::symlink_metadata(path) else { return Ok(Way::Free) };
    if !there.file_type().is_socket() {
        let shown = path.display();
        return Err(SourceError::Refused(format!("{shown} is no socket, and is left alone; listen elsewhere")));
    }
    let listen = Listen::Unix(path.to_owned());
    let mut listener = None;
    match timeout(GREETING, greeting(path, &mut listener)).await {
        Err(_) if listener.is_some_and(shares_our_database) => Ok(Way::OfOneWhoHangs),
        // In many protocols it is the client who speaks first, and another database has a lease of its own.
        Err(_) => Err(taken(&listen, worked)),
        Ok(Ok(())) => Err(taken(&listen, worked)),
        // Nobody listens any more.
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Way::Free),
        Ok(Err(error)) => Err(cannot(&listen, &error)),
    }
}

/// Whether a process has a database open that this one has open, too. Only whoever has the lease of a mailbox opens its
/// socket: the other has lost it.
fn shares_our_database(process: i32) -> bool {
    let open_in = |process: &str| -> HashSet<(u64, u64)> {
        let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        let of_database =
            |path: &PathBuf| fs::read_link(path).is_ok_and(|file| file.as_os_str().as_bytes().ends_with(SHARED));
        let files = files.map(|file| file.path()).filter(of_database).filter_map(|path| fs::metadata(path).ok());
        files.map(|file| (file.dev(), file.ino())).collect()
    };
    !open_in("self").is_disjoint(&open_in(&process.to_string()))
}

/// How the file of SQLite is called that all share who have a database open (write-ahead log, WAL-index).
const SHARED: &[u8] = b"-shm";

/// Waits until whoever listens says something, or hangs up. Who it is, is put down as soon as it is known.
async fn greeting(path: &Path, listener: &mut Option<i32>) -> io::Result<()> {
    let mut stream = loop {
        match UnixStream::connect(path).await {
            // As many wait to be heard as can.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(PAUSE).await,
            connected => break connected?,
        }
    };
    *listener = stream.peer_cred().ok().and_then(|listener| listener.pid());
    let _ = stream.read(&mut [0]).await;
    Ok(())
}

/// Somebody else is in the way. Where it worked before, he may be the daemon that had it then, and is asked for soon;
/// only a person tells others to go.
fn taken(listen: &Listen, worked: bool) -> SourceError {
    let why = format!("somebody else listens on {listen}; stop him, or listen elsewhere");
    if worked { SourceError::Lost(why) } else { SourceError::Refused(why) }
}

fn cannot(listen: &Listen, error: &io::Error) -> SourceError {
    let advice = match (error.kind(), listen) {
        (io::ErrorKind::AddrNotAvailable, _) => "this machine has no such address",
        (io::ErrorKind::PermissionDenied, Listen::Tcp(_)) => "ports below 1024 are for root; take a higher one",
        (io::ErrorKind::NotFound, Listen::Unix(_)) => "its directory must exist",
        (io::ErrorKind::InvalidInput, Listen::Unix(_)) => "the path is too long for a socket",
        (_, Listen::Unix(_)) => "the user that runs bounced must be able to write in its directory",
        (_, Listen::Tcp(_)) => "name another address",
    };
    SourceError::Refused(format!("can't listen on {listen}: {error}; {advice}"))
}

/// Whether it could listen there: nothing is left behind. Where a daemon reads this mailbox, it is the one who listens there
/// already.
pub(super) async fn try_out(listen: &Listen, is_read: bool) -> Result<(), SourceError> {
    match listen {
        Listen::Tcp(address) if is_read && TcpStream::connect(address).await.is_ok() => Ok(()),
        Listen::Tcp(address) => bind_port(listen, *address, false).await.map(drop),
        Listen::Unix(path) if is_read && UnixStream::connect(path).await.is_ok() => Ok(()),
        Listen::Unix(path) => {
            make_way(path, false).await?;
            let writable = rustix::fs::access(directory_of(path), rustix::fs::Access::WRITE_OK);
            writable.map_err(|error| cannot(listen, &error.into()))
        }
    }
}
