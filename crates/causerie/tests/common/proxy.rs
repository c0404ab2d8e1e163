//! Passes connections on to a server. When told, they are cut in the middle of a frame, stall, or are gone for one side
//! only.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Faults of connections that were there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) cut: u64,
    pub(crate) stalled: u64,
    pub(crate) half_open: u64,
}

/// Fault of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A number of bytes still goes through, whatever frame it ends in.
    Cut { bytes: usize },
    /// Nothing goes through for a while.
    Stall(Duration),
    /// The client's side is closed; the server hears nothing of it.
    LostClient,
    /// The server's side is closed; the client hears nothing of it for a while.
    LostServer(Duration),
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    connections: Arc<Mutex<Vec<mpsc::UnboundedSender<Fault>>>>,
    happened: Arc<Mutex<Faults>>,
}

impl Proxy {
    pub(crate) async fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let happened = Arc::new(Mutex::new(Faults::default()));
        let (kept, count) = (Arc::clone(&connections), Arc::clone(&happened));
        tokio::spawn(async move {
            let lost = Arc::default();
            while let Ok((near, _)) = listener.accept().await {
                let (send, faults) = mpsc::unbounded_channel();
                kept.lock().unwrap().push(send);
                tokio::spawn(pass(near, to.clone(), faults, Arc::clone(&count), Arc::clone(&lost)));
            }
        });
        Self { port, connections, happened }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// It happens to one of the connections, if there are any.
    pub(crate) fn fault(&self, fault: Fault, which: u64) {
        let mut connections = self.connections.lock().unwrap();
        connections.retain(|connection| !connection.is_closed());
        if !connections.is_empty() {
            let which = (which % connections.len() as u64) as usize;
            let _ = connections[which].send(fault);
        }
    }

    /// Cuts all connections there are. How many.
    pub(crate) fn cut(&self) -> usize {
        let connections = self.connections.lock().unwrap();
        connections.iter().filter(|connection| connection.send(Fault::Cut { bytes: 0 }).is_ok()).count()
    }

    pub(crate) fn happened(&self) -> Faults {
        *self.happened.lock().unwrap()
    }
}

/// One connection, until an end of it is closed. The other goes with it, unless a fault says otherwise.
async fn pass(
    mut near: TcpStream,
    to: String,
    mut faults: mpsc::UnboundedReceiver<Fault>,
    happened: Arc<Mutex<Faults>>,
    lost: Arc<Mutex<Vec<TcpStream>>>,
) {
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    let mut left = usize::MAX;
    loop {
        let (read, out, bytes) = tokio::select! {
            read = near.read(&mut up) => (read, &mut far, &up),
            read = far.read(&mut down) => (read, &mut near, &down),
            Some(fault) = faults.recv() => {
                match fault {
                    Fault::Cut { bytes: 0 } => {
                        happened.lock().unwrap().cut += 1;
                        return;
                    }
                    Fault::Cut { bytes } => left = bytes,
                    Fault::Stall(time) => {
                        happened.lock().unwrap().stalled += 1;
                        tokio::time::sleep(time).await;
                    }
                    Fault::LostClient => {
                        happened.lock().unwrap().half_open += 1;
                        lost.lock().unwrap().push(far);
                        return;
                    }
                    Fault::LostServer(time) => {
                        happened.lock().unwrap().half_open += 1;
                        drop(far);
                        tokio::time::sleep(time).await;
                        return;
                    }
                }
                continue;
            }
        };
        let Ok(read @ 1..) = read else { return };
        let through = read.min(left);
        if out.write_all(&bytes[..through]).await.is_err() {
            return;
        }
        if through < read {
            happened.lock().unwrap().cut += 1;
            return;
        }
        left -= if left == usize::MAX { 0 } else { through };
    }
}
