//! Servers between the program and a real server: one that adds TLS, a SOCKS proxy, and one that never answers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{DEFAULT_VERSIONS, ServerConfig};

/// Returns the path of a file with certificates.
pub fn certificate_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// A server that passes connections on. It stops when it is dropped.
pub struct Gateway {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Gateway {
    /// Starts a server that calls `serve` for each connection.
    async fn start<F: Future<Output = std::io::Result<()>> + Send + 'static>(
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream));
            }
        });
        Self { address, connections, server }
    }

    /// Starts a server that accepts TLS with the certificate called `certificate`, and leads to `target`.
    pub async fn tls(certificate: &str, target: &str) -> Self {
        let file = |extension: &str| certificate_file(&format!("{certificate}.{extension}"));
        let chain = vec![CertificateDer::from_pem_file(file("pem")).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(file("key")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(DEFAULT_VERSIONS)
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .expect("a TLS configuration");
        let (acceptor, target) = (TlsAcceptor::from(Arc::new(config)), authority(target));
        Self::start(move |stream| {
            let (acceptor, target) = (acceptor.clone(), target.clone());
            async move {
                let mut inner = acceptor.accept(stream).await?;
                let mut outer = TcpStream::connect(target).await?;
                copy_bidirectional(&mut inner, &mut outer).await.map(drop)
            }
        })
        .await
    }

    /// Starts a SOCKS5 proxy that leads every connection to `target`, whatever host is asked for.
    pub async fn socks(target: &str) -> Self {
        let target = authority(target);
        Self::start(move |mut stream| {
            let target = target.clone();
            async move {
                let mut greeting = [0; 2];
                stream.read_exact(&mut greeting).await?;
                skip(&mut stream, greeting[1].into()).await?;
                stream.write_all(&[5, 0]).await?;
                let mut head = [0; 5];
                stream.read_exact(&mut head).await?;
                let rest = if head[3] == 3 { usize::from(head[4]) + 2 } else { 5 };
                skip(&mut stream, rest).await?;
                stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
                let mut outer = TcpStream::connect(target).await?;
                copy_bidirectional(&mut stream, &mut outer).await.map(drop)
            }
        })
        .await
    }

    /// Starts a server that accepts connections and never answers.
    pub async fn silent() -> Self {
        Self::start(|mut stream| async move {
            let mut ignored = Vec::new();
            stream.read_to_end(&mut ignored).await.map(drop)
        })
        .await
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn skip(stream: &mut TcpStream, bytes: usize) -> std::io::Result<()> {
    stream.read_exact(&mut vec![0; bytes]).await.map(drop)
}

/// Returns the host and port of a URL.
fn authority(url: &str) -> String {
    url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/').to_owned()
}
