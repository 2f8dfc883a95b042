//! Pools of kept connections: one for each way of connecting that the settings ask for.

use super::connect::Connector;
use super::resolver::Resolver;
use super::tls;
use crate::git::world::{HttpSettings, Proxy, Tls};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A little more than the usual interval between polls.
const IDLE_FOR: Duration = Duration::from_secs(90);
/// Kept connections to one host. Each costs some 25 KB with TLS.
pub(super) const IDLE_PER_HOST: usize = 4;
/// Bytes of a connection's buffer, and so of the headers of an answer.
const BUFFER: usize = 64 << 10;
/// Ways that are kept; nobody has that many.
const WAYS: usize = 64;

/// What is wrong with the settings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Certificates that cannot be read. For people.
    Certificates(String),
    /// The proxy's URL or login.
    Proxy,
}

/// One pool.
pub(super) type Client = Arc<Pool<Connector, Full<Bytes>>>;

/// All pools.
pub(super) struct Clients {
    made: Mutex<Vec<Made>>,
    resolver: Resolver,
}

struct Made {
    /// None for plain http, which needs no certificates.
    tls: Option<Tls>,
    proxy: Proxy,
    stamp: Option<SystemTime>,
    client: Client,
}

impl Clients {
    /// None yet.
    pub fn new() -> Self {
        Self {
            made: Mutex::default(),
            resolver: Resolver::new(),
        }
    }

    /// The pool for these settings. It is made anew when their CA file was changed.
    pub fn of(&self, https: bool, settings: &HttpSettings) -> Result<Client, Unusable> {
        let tls = https.then_some(&settings.tls);
        let proxy = &settings.proxy;
        let stamp = tls.and_then(tls::stamp);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let at = made.iter().position(|m| m.tls.as_ref() == tls && m.proxy == *proxy);
        if let Some(at) = at {
            if made[at].stamp == stamp {
                return Ok(Arc::clone(&made[at].client));
            }
            made.remove(at);
        }
        let config = tls::config(tls).map_err(Unusable::Certificates)?;
        let connector = Connector::new(self.resolver.clone(), proxy, config).ok_or(Unusable::Proxy)?;
        let client = Arc::new(
            Pool::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_FOR)
                .pool_max_idle_per_host(IDLE_PER_HOST)
                .http1_max_buf_size(BUFFER)
                .build(connector),
        );
        if made.len() >= WAYS {
            made.remove(0);
        }
        made.push(Made {
            tls: tls.cloned(),
            proxy: proxy.clone(),
            stamp,
            client: Arc::clone(&client),
        });
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(proxy: Proxy) -> HttpSettings {
        HttpSettings {
            proxy,
            headers: Vec::new(),
            tls: Tls {
                verify: false,
                ca_file: None,
                ca_path: None,
            },
            user_agent: String::new(),
            follow_redirects: true,
            unable: None,
        }
    }

    fn proxy(n: usize) -> Proxy {
        let (url, login) = (format!("http://p{n}:1"), None);
        Proxy::Http { url, login }
    }

    #[tokio::test]
    async fn one_pool_for_each_way() {
        let clients = Clients::new();
        let of = |https, proxy| clients.of(https, &settings(proxy)).unwrap();
        assert!(Arc::ptr_eq(&of(true, Proxy::None), &of(true, Proxy::None)));
        assert!(!Arc::ptr_eq(&of(true, Proxy::None), &of(false, Proxy::None)));
        assert!(!Arc::ptr_eq(&of(true, Proxy::None), &of(true, proxy(0))));
        let url = "http://a b".to_owned();
        let bad = clients.of(true, &settings(Proxy::Http { url, login: None }));
        assert_eq!(bad.err(), Some(Unusable::Proxy));
    }

    #[tokio::test]
    async fn pools_are_bounded() {
        let clients = Clients::new();
        for n in 0..WAYS + 5 {
            clients.of(false, &settings(proxy(n))).unwrap();
        }
        assert_eq!(clients.made.lock().unwrap().len(), WAYS);
    }
}
