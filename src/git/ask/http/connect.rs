//! From a URL to a connection: straight or by a proxy, then TLS if the URL says so.

use super::resolver::Resolver;
use super::stream::Stream;
use super::vault::basic;
use crate::git::world::Proxy;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use rustls::ClientConfig;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// Beyond what a question waits for: ends a connection that is still being made when nobody waits for it any more.
const LONGEST: Duration = Duration::from_secs(150);
/// Until a kept connection is probed; it is dead some 30 seconds later, before the next poll runs into it.
const PROBE_AFTER: Duration = Duration::from_secs(20);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 2;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<S> = Pin<Box<dyn Future<Output = Result<S, BoxError>> + Send>>;
type Tcp = HttpConnector<Resolver>;

/// The connection took [`LONGEST`].
#[derive(Debug, thiserror::Error)]
#[error("no connection in time")]
pub(super) struct TookTooLong;

/// Makes connections, TLS included.
#[derive(Clone)]
pub(super) struct Connector(HttpsConnector<Way>);

impl Connector {
    /// None if the proxy's URL or login is none that can be sent.
    pub fn new(resolver: Resolver, proxy: &Proxy, tls: Arc<ClientConfig>) -> Option<Self> {
        Some(Self(HttpsConnector::from((Way::new(resolver, proxy)?, tls))))
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Stream>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.0.call(to);
        Box::pin(async {
            match tokio::time::timeout(LONGEST, connecting).await {
                Ok(connection) => connection,
                Err(_) => Err(TookTooLong.into()),
            }
        })
    }
}

/// How TCP gets there.
#[derive(Clone)]
struct Way {
    tcp: Tcp,
    proxy: Option<Arc<ByProxy>>,
}

struct ByProxy {
    url: Uri,
    tunnel: Tunnel<Tcp>,
}

impl Way {
    fn new(resolver: Resolver, proxy: &Proxy) -> Option<Self> {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(PROBE_AFTER));
        tcp.set_keepalive_interval(Some(PROBE_EVERY));
        tcp.set_keepalive_retries(Some(PROBES));
        let Proxy::Http { url, login } = proxy else {
            return Some(Self { tcp, proxy: None });
        };
        let url: Uri = url.parse().ok()?;
        let mut tunnel = Tunnel::new(url.clone(), tcp.clone());
        if let Some(login) = login {
            tunnel = tunnel.with_auth(basic(login).ok()?);
        }
        let proxy = Some(Arc::new(ByProxy { url, tunnel }));
        Some(Self { tcp, proxy })
    }
}

impl Service<Uri> for Way {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Stream>;

    /// Always: the resolver is.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        match &self.proxy {
            Some(proxy) if to.scheme_str() == Some("https") => {
                let connecting = proxy.tunnel.clone().call(to);
                Box::pin(async { Ok(Stream::new(connecting.await?, false)) })
            }
            proxy => {
                let to = proxy.as_ref().map_or(to, |proxy| proxy.url.clone());
                let absolute = proxy.is_some();
                let connecting = self.tcp.call(to);
                Box::pin(async move { Ok(Stream::new(connecting.await?, absolute)) })
            }
        }
    }
}
