//! Listening sockets of either kind: opened, accepted from, cleared away.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::event::Source;
use mio::net::TcpListener;
#[cfg(unix)]
use mio::net::UnixListener;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Type};

use crate::listener::ListenAddress;
use crate::transport::socket::{Peer, Socket};

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum ListeningSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
}

impl ListeningSocket {
    /// Opens it.
    pub(crate) fn bind(address: &ListenAddress) -> io::Result<ListeningSocket> {
        match address {
            ListenAddress::Tcp(address) => bind_tcp(*address).map(ListeningSocket::Tcp),
            #[cfg(unix)]
            ListenAddress::Unix(path) => {
                let (socket, file) = unix::bind(path)?;
                Ok(ListeningSocket::Unix(socket, file))
            }
            #[cfg(not(unix))]
            ListenAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// A Unix socket that somebody else has opened, and will remove.
    #[cfg(unix)]
    pub(crate) fn inherited_unix(socket: std::os::unix::net::UnixListener) -> io::Result<ListeningSocket> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let path = address.as_pathname().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "an inherited Unix socket has no path",
            )
        })?;
        let file = SocketFile::of_others(path);
        Ok(ListeningSocket::Unix(UnixListener::from_std(socket), file))
    }

    /// The next connection; would block if there is none.
    pub(crate) fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            ListeningSocket::Tcp(socket) => socket
                .accept()
                .map(|(stream, address)| (Socket::Tcp(stream), Peer::network(address))),
            #[cfg(unix)]
            ListeningSocket::Unix(socket, file) => socket
                .accept()
                .map(|(stream, _)| (Socket::Unix(stream), Peer::Local(Arc::clone(&file.name)))),
        }
    }

    /// Where it listens, with the port that was chosen.
    pub(crate) fn address(&self) -> io::Result<ListenAddress> {
        match self {
            ListeningSocket::Tcp(socket) => socket.local_addr().map(ListenAddress::Tcp),
            #[cfg(unix)]
            ListeningSocket::Unix(_, file) => Ok(ListenAddress::Unix(file.path.clone())),
        }
    }
}

impl Source for ListeningSocket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            ListeningSocket::Tcp(socket) => socket.register(registry, token, interests),
            #[cfg(unix)]
            ListeningSocket::Unix(socket, _) => socket.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            ListeningSocket::Tcp(socket) => socket.reregister(registry, token, interests),
            #[cfg(unix)]
            ListeningSocket::Unix(socket, _) => socket.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            ListeningSocket::Tcp(socket) => socket.deregister(registry),
            #[cfg(unix)]
            ListeningSocket::Unix(socket, _) => socket.deregister(registry),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

#[cfg(unix)]
pub(crate) use unix::SocketFile;

#[cfg(unix)]
mod unix {
    use std::io;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use mio::net::UnixListener;
    use rustix::fs::Mode;
    use rustix::process::umask;
    use socket2::{Domain, SockAddr, Type};

    /// The file of a Unix socket; removed when dropped, unless somebody has put another one there.
    #[derive(Debug)]
    pub(crate) struct SocketFile {
        pub(super) path: PathBuf,
        /// The path as it is logged.
        pub(super) name: Arc<str>,
        /// Device and inode; `None` if it is not ours to remove.
        identity: Option<(u64, u64)>,
    }

    impl SocketFile {
        pub(super) fn of_others(path: &Path) -> SocketFile {
            SocketFile {
                path: path.to_owned(),
                name: path.to_string_lossy().into(),
                identity: None,
            }
        }
    }

    pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let address = SockAddr::unix(path)?;
        socket.set_nonblocking(true)?;
        remove_old(path, &address)?;
        // The file gets its rights when it is made: there must be no time in which others can connect.
        let before = umask(Mode::RWXO);
        let bound = socket.bind(&address);
        umask(before);
        bound?;
        let file = SocketFile {
            path: path.to_owned(),
            name: path.to_string_lossy().into(),
            identity: identity(path),
        };
        socket.listen(super::BACKLOG)?;
        Ok((UnixListener::from_std(socket.into()), file))
    }

    /// A broker that was killed leaves its socket behind. What is no socket, or somebody's who is there, is not ours to
    /// remove.
    fn remove_old(path: &Path, address: &SockAddr) -> io::Result<()> {
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if metadata.file_type().is_socket() => {
                let caller = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
                // It must not wait: a full queue is an answer as well.
                caller.set_nonblocking(true)?;
                match caller.connect(address).map_err(|error| error.kind()) {
                    // Nobody listens, or it is another user's, of whom we cannot know.
                    Err(io::ErrorKind::ConnectionRefused | io::ErrorKind::PermissionDenied) => {
                        std::fs::remove_file(path)
                    }
                    _ => Err(io::ErrorKind::AddrInUse.into()),
                }
            }
            Ok(_) => Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file at this path that is no socket",
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn identity(path: &Path) -> Option<(u64, u64)> {
        let metadata = std::fs::symlink_metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    }

    impl Drop for SocketFile {
        fn drop(&mut self) {
            if self.identity.is_some()
                && identity(&self.path) == self.identity
                && let Err(error) = std::fs::remove_file(&self.path)
            {
                tracing::warn!("cannot remove the socket {}: {error}", self.path.display());
            }
        }
    }
}

/// Connections that the system accepts ahead of us: a whole site reconnects at once.
const BACKLOG: i32 = 4096;
