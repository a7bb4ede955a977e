//! Sockets that have a port before they listen.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Returns a socket that has a port and does not listen. A port of 0 stands for any free port.
///
/// Several such sockets may have one port while none of them listens.
pub(crate) fn silent(port: u16) -> TcpListener {
    let name = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
        sin_zero: [0; 8],
    };
    let (one, length) = (1_i32, size_of::<libc::sockaddr_in>() as libc::socklen_t);
    // SAFETY: the call has no conditions.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(socket >= 0);
    // SAFETY: the call above has opened the descriptor, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: the pointer is to an integer of the length that is given.
    let set = unsafe {
        let (level, name) = (libc::SOL_SOCKET, libc::SO_REUSEADDR);
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const one).cast(), 4)
    };
    // SAFETY: the pointer is to an address of the length that is given.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const name).cast(), length) };
    assert_eq!((set, bound), (0, 0), "{port}: {}", io::Error::last_os_error());
    TcpListener::from(socket)
}

/// Lets a silent socket listen.
pub(crate) fn listen(silent: &TcpListener) {
    // SAFETY: the descriptor is an open socket.
    let listens = unsafe { libc::listen(silent.as_raw_fd(), 128) };
    assert_eq!(listens, 0, "{}", io::Error::last_os_error());
}

/// Ends listening at once.
///
/// A drop would not: a process that another test is starting has a copy of each descriptor until it is the other program.
pub(crate) fn listen_no_more(listener: &TcpListener) {
    // SAFETY: the descriptor is an open socket.
    let shut = unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
    assert_eq!(shut, 0, "{}", io::Error::last_os_error());
}
