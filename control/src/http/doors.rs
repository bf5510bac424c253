//! Where the control plane is asked: an address and a Unix socket, opened at the start and changed while it runs.

use std::io;
use std::net::{self, SocketAddr};
use std::path::Path;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{BOUNDS, Listener, Pages, serve};
use crate::config::Control;
use crate::socket::ControlSocket;

/// Connections that wait to be accepted: a burst of them keeps nobody else from knocking.
const BACKLOG: i32 = 1_024;

/// Where the control plane is asked.
#[derive(Debug, Default)]
pub struct Doors {
    /// `listen` of the settings.
    pub address: Option<net::TcpListener>,
    /// `socket` of the settings.
    pub socket: Option<ControlSocket>,
}

/// The doors, open for as long as this is kept.
pub(crate) struct OpenDoors {
    pages: Pages,
    address: Option<(SocketAddr, Served)>,
    socket: Option<(ControlSocket, Served)>,
}

/// A listener that is served. When this is dropped it is closed, and its connections end with the request at hand.
#[derive(Debug)]
struct Served {
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Doors {
    /// Begins to answer at every door; within the runtime.
    ///
    /// # Errors
    /// When the kernel does not take a listener.
    pub(crate) fn open(self, pages: Pages) -> io::Result<OpenDoors> {
        let address = self.address.map(|listener| OpenDoors::open_address(listener, &pages)).transpose()?;
        let socket = self.socket.map(|socket| OpenDoors::open_socket(socket, &pages)).transpose()?;
        Ok(OpenDoors { pages, address, socket })
    }
}

impl OpenDoors {
    /// Opens and closes what `settings` want otherwise than it is; within the runtime. What cannot be opened leaves the
    /// door as it was. Requests at hand are answered.
    ///
    /// # Errors
    /// A line for each door that could not be changed: what is in the way, and the mend.
    pub(crate) async fn change(&mut self, settings: &Control) -> Result<(), Vec<String>> {
        let wrong = [self.change_address(*settings.listen).await, self.change_socket(settings.socket.as_deref())];
        let wrong: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    async fn change_address(&mut self, wanted: Option<SocketAddr>) -> Result<(), String> {
        let Some(wanted) = wanted else {
            if let Some((address, _)) = self.address.take() {
                log::info!("the control plane listens on {address} no more");
            }
            return Ok(());
        };
        let open = self.address.as_ref().map(|(address, _)| *address);
        // Port 0 is any: the one that is open is as good as another.
        if open.is_some_and(|open| open.ip() == wanted.ip() && [0, open.port()].contains(&wanted.port())) {
            return Ok(());
        }
        let mut bound = net::TcpListener::bind(wanted);
        let is_in_the_way = open.is_some_and(|open| open.port() == wanted.port());
        if bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) && is_in_the_way {
            // One of the two addresses includes the other: the old one must go first.
            if let Some((_, served)) = self.address.take() {
                served.close().await;
            }
            bound = net::TcpListener::bind(wanted);
        }
        match bound.and_then(|listener| OpenDoors::open_address(listener, &self.pages)) {
            Ok(opened) => {
                log::info!("the control plane listens on {}", opened.0);
                self.address = Some(opened);
                Ok(())
            }
            Err(error) => {
                let why = format!("`listen` in [control]: the control plane cannot listen on {wanted}: {error}");
                Err(format!("{why}; {}", self.back_to(open)))
            }
        }
    }

    /// Opens the address again that was closed for another one. Says how things stand, and the mend.
    fn back_to(&mut self, open: Option<SocketAddr>) -> String {
        if let (None, Some(open)) = (&self.address, open) {
            let again = net::TcpListener::bind(open).and_then(|old| OpenDoors::open_address(old, &self.pages));
            match again {
                Ok(opened) => self.address = Some(opened),
                Err(error) => return format!("nor any more on {open}: {error}; choose another `listen` and reload"),
            }
        }
        match open {
            Some(open) => format!("it stays at {open}; choose another address, or restart the server"),
            None => "choose another address, or restart the server".to_owned(),
        }
    }

    fn change_socket(&mut self, wanted: Option<&Path>) -> Result<(), String> {
        let Some(wanted) = wanted else {
            if let Some((socket, _)) = self.socket.take() {
                log::info!("the control plane listens on {} no more", socket.path().display());
            }
            return Ok(());
        };
        if self.socket.as_ref().is_some_and(|(socket, _)| socket.path() == wanted) {
            return Ok(());
        }
        let opened = ControlSocket::bind(wanted).and_then(|socket| {
            let said = |error| format!("the control plane cannot listen on {}: {error}", wanted.display());
            OpenDoors::open_socket(socket, &self.pages).map_err(said)
        });
        match opened {
            Ok(opened) => {
                log::info!("the control plane listens on {}", wanted.display());
                self.socket = Some(opened);
                Ok(())
            }
            Err(why) => {
                let stays =
                    self.socket.as_ref().map(|(socket, _)| format!("; it stays at {}", socket.path().display()));
                Err(format!("`socket` in [control]: {why}{}", stays.unwrap_or_default()))
            }
        }
    }

    fn open_address(listener: net::TcpListener, pages: &Pages) -> io::Result<(SocketAddr, Served)> {
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, BACKLOG)?;
        let address = listener.local_addr()?;
        let listener = Listener::Address { listener: TcpListener::from_std(listener)?, address };
        Ok((address, Served::serve(listener, pages)))
    }

    fn open_socket(socket: ControlSocket, pages: &Pages) -> io::Result<(ControlSocket, Served)> {
        let listener = Listener::Socket(UnixListener::from_std(socket.listener()?)?);
        Ok((socket, Served::serve(listener, pages)))
    }
}

impl Served {
    fn serve(listener: Listener, pages: &Pages) -> Served {
        let (closing, closed) = watch::channel(false);
        Served { closing, task: tokio::spawn(serve(listener, pages.clone(), BOUNDS, closed)) }
    }

    /// Closes the listener, and waits until it is closed.
    async fn close(mut self) {
        self.closing.send_replace(true);
        if (&mut self.task).await.is_err() {
            log::error!("a listener of the control plane ended by a bug in ringdns");
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.closing.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use tokio::task::spawn_blocking;

    use super::super::Turns;
    use super::*;
    use crate::api::reloads;
    use crate::config;
    use crate::cores::fake::Fake;

    fn pages() -> Pages {
        Pages {
            cores: Arc::new(Fake::default()),
            board: Arc::default(),
            access: Arc::default(),
            reloads: reloads::channel().0,
            orders: crate::orders::channel().0,
            query_log: None,
            dnstap: None,
            started: Instant::now(),
            turns: Turns::default(),
        }
    }

    fn control(folder: &Path, text: &str) -> Control {
        std::fs::write(folder.join("token"), "0123456789abcdef").unwrap();
        let text = format!("[control]\ntoken_file = \"token\"\n{text}\n");
        config::parse("r.toml", &text, folder).unwrap().control
    }

    /// The first line of the answer to a wish for `/health`, where there is one.
    fn asked(mut stream: impl Read + Write) -> String {
        let wish = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let mut answer = String::new();
        let _ = stream.write_all(wish.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        answer.lines().next().unwrap_or_default().to_owned()
    }

    async fn at(address: SocketAddr) -> String {
        spawn_blocking(move || TcpStream::connect(address).map(asked).unwrap_or_default()).await.unwrap()
    }

    async fn at_path(path: &Path) -> String {
        let path = path.to_owned();
        spawn_blocking(move || UnixStream::connect(path).map(asked).unwrap_or_default()).await.unwrap()
    }

    const WELL: &str = "HTTP/1.1 200 OK";

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    fn free() -> SocketAddr {
        net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[test]
    fn an_address_is_changed_while_it_is_open() {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let first = listener.local_addr().unwrap();
            let mut open = Doors { address: Some(listener), socket: None }.open(pages()).unwrap();
            let listen = |address: &str| control(folder.path(), &format!("listen = \"{address}\""));
            // Somebody who has connected, and asks later.
            let early = TcpStream::connect(first).unwrap();
            assert_eq!(at(first).await, WELL);
            // Any port: this one will do.
            open.change(&listen("127.0.0.1:0")).await.unwrap();
            assert_eq!(at(first).await, WELL);
            // One that is taken: all stays as it was.
            let taken = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let wrong = open.change(&listen(&taken.local_addr().unwrap().to_string())).await.unwrap_err();
            assert!(wrong.len() == 1 && wrong[0].contains("`listen` in [control]"), "{wrong:?}");
            assert!(wrong[0].contains(&format!("it stays at {first}")), "{wrong:?}");
            assert_eq!(at(first).await, WELL);
            let second = free();
            open.change(&listen(&second.to_string())).await.unwrap();
            assert_eq!((at(second).await.as_str(), at(first).await.as_str()), (WELL, ""));
            drop(early);
            // All addresses with the same port: the old one is in the way, and from now on a token is asked for.
            open.pages.access.want(&control(folder.path(), ""));
            open.change(&listen(&format!("0.0.0.0:{}", second.port()))).await.unwrap();
            assert_eq!(at(second).await, "HTTP/1.1 401 Unauthorized");
            open.change(&listen("")).await.unwrap();
            assert_eq!(at(second).await, "");
        });
    }

    #[test]
    fn an_address_that_had_to_go_first_comes_back() {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let first = listener.local_addr().unwrap();
            let mut open = Doors { address: Some(listener), socket: None }.open(pages()).unwrap();
            // Somebody else has this port on another address, so that it cannot be had on all of them.
            let other = net::TcpListener::bind(("127.0.0.2", first.port())).unwrap();
            let all = control(folder.path(), &format!("listen = \"0.0.0.0:{}\"", first.port()));
            let wrong = open.change(&all).await.unwrap_err();
            assert!(wrong[0].contains(&format!("it stays at {first}")), "{wrong:?}");
            assert_eq!(at(first).await, WELL);
            drop(other);
            open.change(&all).await.unwrap();
        });
    }

    #[test]
    fn a_socket_is_changed_while_it_is_open() {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            let mut open = Doors::default().open(pages()).unwrap();
            let socket = |name: &str| control(folder.path(), &format!("listen = \"\"\nsocket = \"{name}\""));
            open.change(&socket("first")).await.unwrap();
            assert_eq!(at_path(&path("first")).await, WELL);
            std::fs::write(path("file"), "text").unwrap();
            let wrong = open.change(&socket("file")).await.unwrap_err();
            assert!(wrong[0].contains("no socket is there") && wrong[0].contains("it stays at "), "{wrong:?}");
            assert_eq!(at_path(&path("first")).await, WELL);
            open.change(&socket("second")).await.unwrap();
            assert_eq!(at_path(&path("second")).await, WELL);
            assert!(!path("first").exists());
            open.change(&socket("")).await.unwrap();
            assert!(!path("second").exists());
        });
    }

    #[test]
    fn a_request_at_hand_is_answered_when_its_door_closes() {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let first = listener.local_addr().unwrap();
            let (wishes, mut reloads) = reloads::channel();
            let pages = Pages { reloads: wishes, ..pages() };
            let token = control(folder.path(), "listen = \"\"");
            pages.access.want(&token);
            let mut open = Doors { address: Some(listener), socket: None }.open(pages).unwrap();
            let asking = spawn_blocking(move || {
                let mut stream = TcpStream::connect(first).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                let head = "Host: localhost\r\nAuthorization: Bearer 0123456789abcdef\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(format!("POST /api/v1/reload HTTP/1.1\r\n{head}").as_bytes()).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            });
            let asker = reloads.wished().await.unwrap();
            reloads.wait(asker, false);
            open.change(&token).await.unwrap();
            assert_eq!(at(first).await, "");
            reloads.tell(&Ok(crate::plane::Reloaded::default()), &[]);
            let answer = asking.await.unwrap();
            assert!(answer.starts_with(WELL) && answer.contains("\"zones_read\":0"), "{answer}");
        });
    }
}
