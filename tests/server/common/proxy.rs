//! A TCP proxy that keeps every byte, in both directions: a capture of the wire that needs no privilege.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A proxy in front of a port. Its threads end with the connections.
pub struct Proxy {
    /// Where clients connect.
    pub port: u16,
    capture: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    /// Listens on a free port and passes connections on to `upstream`.
    pub fn start(upstream: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let capture = Arc::new(Mutex::new(Vec::new()));
        let kept = capture.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else {
                    return;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let from = from.try_clone().expect("a socket");
                    let to = to.try_clone().expect("a socket");
                    let kept = kept.clone();
                    std::thread::spawn(move || pass(from, to, &kept));
                }
            }
        });
        Proxy { port, capture }
    }

    /// Everything that has gone over the wire.
    pub fn captured(&self) -> Vec<u8> {
        self.capture.lock().expect("no thread panicked").clone()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 65536];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 {
            break;
        }
        kept.lock()
            .expect("no thread panicked")
            .extend_from_slice(&buffer[..n]);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // Either end may be gone already.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
