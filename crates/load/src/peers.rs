//! Peers that do the least: a null echo (the upper bound of any engine's ACK) and a null proxy (the
//! upper bound of any route). They remember nothing and write nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hie_mllp::{FrameReader, Framing, encode};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::wire::{msh_field, write_ack};

/// A running peer. Dropping it closes its port and connections.
#[derive(Debug)]
pub struct Peer {
    addr: SocketAddr,
    server: JoinHandle<()>,
}

impl Peer {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until dropped or aborted.
    pub async fn run(mut self) {
        let _ = (&mut self.server).await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers AA to everything.
///
/// # Errors
/// When the port cannot be had.
pub async fn null(addr: &str) -> io::Result<Peer> {
    start(addr, echo).await
}

/// Passes each message on to `upstream`, one connection for each client, and its answer back.
///
/// # Errors
/// When the port cannot be had.
pub async fn proxy(addr: &str, upstream: &str) -> io::Result<Peer> {
    let upstream = Arc::<str>::from(upstream);
    start(addr, move |client| relay(client, upstream.clone())).await
}

async fn start<F>(
    addr: &str,
    on_connection: impl Fn(TcpStream) -> F + Send + 'static,
) -> io::Result<Peer>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let server = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    let _ = stream.set_nodelay(true);
                    connections.spawn(on_connection(stream));
                },
                Some(_) = connections.join_next() => {}
            }
        }
    });
    Ok(Peer { addr, server })
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut stream = FrameReader::new(stream, Framing::MLLP);
    let (mut ack, mut frame) = (Vec::new(), Vec::new());
    while let Some(message) = stream.next_borrowed().await.map_err(io::Error::other)? {
        ack.clear();
        write_ack(
            &mut ack,
            msh_field(message, 10).unwrap_or_default(),
            b"2.5.1",
            "AA",
        );
        encode(Framing::MLLP, &ack, &mut frame).map_err(io::Error::other)?;
        // A pipelining sender gets the ACKs of what it sent together in one write.
        if !stream.has_buffered() {
            stream.get_mut().write_all(&frame).await?;
            frame.clear();
        }
    }
    Ok(())
}

async fn relay(client: TcpStream, upstream: Arc<str>) -> io::Result<()> {
    let upstream = TcpStream::connect(&*upstream).await?;
    upstream.set_nodelay(true)?;
    let mut client = FrameReader::new(client, Framing::MLLP);
    let mut upstream = FrameReader::new(upstream, Framing::MLLP);
    let mut frame = Vec::new();
    while let Some(message) = client.next_borrowed().await.map_err(io::Error::other)? {
        pass_on(message, &mut frame, &mut upstream).await?;
        let Some(answer) = upstream.next_borrowed().await.map_err(io::Error::other)? else {
            break;
        };
        pass_on(answer, &mut frame, &mut client).await?;
    }
    Ok(())
}

async fn pass_on(
    payload: &[u8],
    frame: &mut Vec<u8>,
    to: &mut FrameReader<TcpStream>,
) -> io::Result<()> {
    frame.clear();
    encode(Framing::MLLP, payload, frame).map_err(io::Error::other)?;
    to.get_mut().write_all(frame).await
}
