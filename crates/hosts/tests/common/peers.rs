//! Both ends of an MLLP connection in the hands of a test: a sender that talks to a service, and a
//! receiving system that an operation talks to. Each step is the test's own, so that nothing
//! depends on time.

use hie_mllp::{FrameReader, FrameWriter, Framing, ReadError, ReadHalf, Stream, WriteHalf};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use super::PATIENCE;

/// One end of a connection.
pub(crate) struct Line {
    reader: FrameReader<ReadHalf>,
    writer: FrameWriter<WriteHalf>,
}

impl Line {
    pub(crate) fn over(stream: Stream, framing: Framing) -> Self {
        let (read, write) = stream.split();
        Self {
            reader: FrameReader::new(read, framing),
            writer: FrameWriter::new(write, framing),
        }
    }

    pub(crate) async fn to(address: &str) -> Self {
        Self::framed(address, Framing::MLLP).await
    }

    pub(crate) async fn framed(address: &str, framing: Framing) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        Self::over(Stream::plain(tcp).unwrap(), framing)
    }

    /// Sends a frame.
    pub(crate) async fn say(&mut self, message: impl AsRef<[u8]>) {
        self.writer.send(message.as_ref()).await.unwrap();
    }

    /// Sends bytes as they are.
    pub(crate) async fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.writer
            .get_mut()
            .write_all(bytes.as_ref())
            .await
            .unwrap();
        self.writer.get_mut().flush().await.unwrap();
    }

    /// As [`raw`](Self::raw), to a peer that may have closed already.
    pub(crate) async fn try_raw(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.writer.get_mut().write_all(bytes.as_ref()).await?;
        self.writer.get_mut().flush().await
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let next = tokio::time::timeout(PATIENCE, self.reader.next()).await;
        let frame = next.expect("waited in vain for the peer to say something")?;
        Ok(frame.map(|frame| frame.to_vec()))
    }

    /// The next frame.
    pub(crate) async fn hear(&mut self) -> String {
        String::from_utf8(self.hear_bytes().await).unwrap()
    }

    pub(crate) async fn hear_bytes(&mut self) -> Vec<u8> {
        self.next()
            .await
            .unwrap()
            .expect("the peer closed the connection")
    }

    /// The next frame, or none where the peer has closed.
    pub(crate) async fn hear_or_closed(&mut self) -> Option<String> {
        let frame = self.next().await.ok().flatten()?;
        Some(String::from_utf8(frame).unwrap())
    }

    /// Sends a message and waits for its answer.
    pub(crate) async fn ask(&mut self, message: impl AsRef<[u8]>) -> String {
        self.say(message).await;
        self.hear().await
    }

    /// MSA-1 of the answer to a message.
    pub(crate) async fn code(&mut self, message: impl AsRef<[u8]>) -> String {
        field(&self.ask(message).await, "MSA", 1)
    }

    /// Waits until the peer closes, without a word more.
    pub(crate) async fn closed(&mut self) {
        if let Ok(Some(frame)) = self.next().await {
            panic!("{} bytes came where nothing should", frame.len());
        }
    }

    /// Says that nothing follows.
    pub(crate) async fn hang_up(&mut self) {
        self.writer.shutdown().await.unwrap();
    }

    /// The socket.
    pub(crate) fn tcp(&self) -> &ReadHalf {
        self.reader.get_ref()
    }
}

/// A receiving system that listens.
pub(crate) struct Desk {
    listener: TcpListener,
    pub(crate) port: u16,
}

impl Desk {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        accepted.expect("nobody connected").unwrap().0
    }

    /// The next connection.
    pub(crate) async fn line(&self) -> Line {
        Line::over(Stream::plain(self.tcp().await).unwrap(), Framing::MLLP)
    }
}

/// A message with this control id.
pub(crate) fn adt(id: &str) -> String {
    with_msh(&format!("{id}|P|2.5"))
}

/// A message whose MSH goes on with this from MSH-10.
pub(crate) fn with_msh(from_10: &str) -> String {
    format!(
        "MSH|^~\\&|PAS|RX1|EPR|RX2|20260314101500||ADT^A01|{from_10}\rEVN||20260314\rPID|1||4857773456^^^NHS\rPV1|1|I\r"
    )
}

/// An acknowledgement.
pub(crate) fn ack(code: &str, id: &str) -> String {
    format!("MSH|^~\\&|EPR|RX2|PAS|RX1|20260314101501||ACK|R{id}|P|2.5\rMSA|{code}|{id}\r")
}

/// A field of the first segment of this name; MSH-1 is counted.
pub(crate) fn field(message: &str, segment: &str, number: usize) -> String {
    let line = message.split('\r').find(|line| line.starts_with(segment));
    let shift = usize::from(segment == "MSH");
    let field = line.and_then(|line| line.split('|').nth(number - shift));
    field.unwrap_or_default().to_owned()
}

/// The control id of a message.
pub(crate) fn id(message: &str) -> String {
    field(message, "MSH", 10)
}

/// A service `In` that sends to `Out`; further settings of its adapter and host.
pub(crate) fn service(adapter: &str, host: &str) -> String {
    format!(
        "  - name: In\n    class: HL7TCPService\n    adapter: {{ Port: 0, IPAddress: 127.0.0.1, {adapter} }}\n    \
         host: {{ TargetConfigNames: Out, {host} }}\n"
    )
}

/// An operation `Out` to a port of this machine that tries again at once, unless told otherwise.
pub(crate) fn operation(port: u16, adapter: &str, host: &str) -> String {
    let interval = if host.contains("RetryInterval") {
        ""
    } else {
        "RetryInterval: 0.02, "
    };
    format!(
        "  - name: Out\n    class: HL7TCPOperation\n    adapter: {{ Port: {port}, IPAddress: 127.0.0.1, {adapter} }}\n    \
         host: {{ {interval}{host} }}\n"
    )
}

/// An `Out` that takes everything.
pub(crate) const SINK: &str = "  - name: Out\n    class: DiscardOperation\n";
