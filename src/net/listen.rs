//! Listening sockets: one for each core and port, sharing the port by `SO_REUSEPORT`, so that the
//! kernel spreads connections and no core accepts for another.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Connections the kernel keeps waiting for us.
const BACKLOG: i32 = 4096;

/// A socket that listens on `address`.
///
/// Accepted sockets inherit no-delay and keepalive (`keepalive` zero: off), so that no option
/// costs a system call a connection.
///
/// # Errors
/// The reason, with the address in it: port taken, address not of this machine, no permission.
pub fn listen(ip: IpAddr, port: u16, keepalive: Duration) -> io::Result<OwnedFd> {
    let address = SocketAddr::new(ip, port);
    let name = |e| named(address, e);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .map_err(name)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    keep_alive(SockRef::from(&socket), keepalive)?;
    socket.bind(&address.into()).map_err(name)?;
    socket.listen(BACKLOG).map_err(name)?;
    Ok(socket.into())
}

/// Makes a listening socket's future connections probe silent peers this often; zero: not at all.
///
/// # Errors
/// What the kernel says.
pub fn keep_alive(socket: SockRef<'_>, every: Duration) -> io::Result<()> {
    if every.is_zero() {
        return socket.set_keepalive(false);
    }
    let settings = TcpKeepalive::new()
        .with_time(every)
        .with_interval((every / 3).max(Duration::from_secs(1)))
        .with_retries(3);
    socket.set_tcp_keepalive(&settings)
}

/// Whether nobody listens on the port yet.
///
/// `SO_REUSEPORT` would let a second server of the same user share the port unnoticed; this asks
/// without it first.
///
/// # Errors
/// As [`listen`].
pub fn probe(ip: IpAddr, port: u16) -> io::Result<()> {
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket
        .bind(&address.into())
        .and_then(|()| socket.listen(1))
        .map_err(|e| named(address, e))
}

/// The error with the address in it, and what it means.
fn named(address: SocketAddr, e: io::Error) -> io::Error {
    let hint = match e.kind() {
        io::ErrorKind::AddrInUse => "another process has this port",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::PermissionDenied => "this port needs a privilege",
        _ => "cannot listen",
    };
    io::Error::new(e.kind(), format!("{address}: {hint} ({e})"))
}
