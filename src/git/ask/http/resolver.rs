//! Host names to addresses, by the system's `getaddrinfo`, which blocks a thread and cannot be called off.
//!
//! A resolver that is dead must not pile up threads, and one name that nobody resolves must not keep others waiting:
//! few threads in all, one for each name, and whoever asks for the same name meanwhile shares the answer.

use hyper_util::client::legacy::connect::dns::Name;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tower_service::Service;

/// Threads that may wait for a resolver.
const THREADS: usize = 8;
/// How long addresses are good for. Errors are not kept.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// Names that are kept.
const NAMES: usize = 4096;

/// Why a name has no address, in the system's words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct UnknownHost(String);

type Outcome = Result<Vec<SocketAddr>, UnknownHost>;
type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

#[derive(Debug, Clone)]
struct Found {
    at: Instant,
    outcome: Outcome,
}

impl Found {
    /// Whether it serves who began to wait then: addresses while they are good, an error only who waited for it.
    fn serves(&self, begin: Instant) -> bool {
        self.at >= begin || (self.outcome.is_ok() && self.at.elapsed() < GOOD_FOR)
    }
}

type Cell = Arc<tokio::sync::Mutex<Option<Found>>>;

/// Cheap to clone; all clones share names and threads.
#[derive(Clone)]
pub(super) struct Resolver {
    cells: Arc<Mutex<HashMap<Box<str>, Cell>>>,
    threads: Arc<Semaphore>,
    look_up: Arc<LookUp>,
}

impl Resolver {
    /// The system's.
    pub fn new() -> Self {
        Self::with(Arc::new(|name| Ok((name, 0).to_socket_addrs()?.collect())))
    }

    fn with(look_up: Arc<LookUp>) -> Self {
        Self {
            cells: Arc::default(),
            threads: Arc::new(Semaphore::new(THREADS)),
            look_up,
        }
    }

    fn cell(&self, name: &str) -> Cell {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = cells.get(name) {
            return Arc::clone(cell);
        }
        if cells.len() >= NAMES {
            // One that is in use is known to its users.
            cells.clear();
        }
        let cell = Cell::default();
        cells.insert(name.into(), Arc::clone(&cell));
        cell
    }

    async fn resolve(self, name: Name) -> Outcome {
        let begin = Instant::now();
        let mut found = self.cell(name.as_str()).lock_owned().await;
        if let Some(found) = &*found
            && found.serves(begin)
        {
            return found.outcome.clone();
        }
        let closed = |e: &dyn std::error::Error| UnknownHost(e.to_string());
        let thread = self.threads.acquire_owned().await.map_err(|e| closed(&e))?;
        // The thread goes on when nobody waits any more, and holds its place and the name for as long.
        let looking = tokio::task::spawn_blocking(move || {
            let _thread = thread;
            let outcome = (self.look_up)(name.as_str()).map_err(|e| UnknownHost(e.to_string()));
            let at = Instant::now();
            *found = Some(Found {
                at,
                outcome: outcome.clone(),
            });
            outcome
        });
        looking.await.map_err(|e| closed(&e))?
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = UnknownHost;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolving = self.clone().resolve(name);
        Box::pin(async { resolving.await.map(Vec::into_iter) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::timeout;

    fn name(name: &str) -> Name {
        Name::from_str(name).unwrap()
    }

    /// Counts its calls; `dead…` hangs until the sender is dropped, `no…` is unknown.
    fn counting() -> (Resolver, Arc<AtomicUsize>, std::sync::mpsc::Sender<()>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let (counter, gate) = (Arc::clone(&calls), Mutex::new(gate));
        let resolver = Resolver::with(Arc::new(move |name| {
            counter.fetch_add(1, Ordering::SeqCst);
            if name.starts_with("dead") {
                let _ = gate.lock().unwrap().recv();
            }
            if name.starts_with("no") {
                return Err(io::Error::other("no such name"));
            }
            Ok(vec![([127, 0, 0, 1], 0).into()])
        }));
        (resolver, calls, open)
    }

    #[tokio::test]
    async fn addresses_are_kept_and_errors_are_not() {
        let (resolver, calls, _open) = counting();
        for _ in 0..3 {
            assert_eq!(resolver.clone().resolve(name("yes")).await.unwrap().len(), 1);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        for n in 2..4 {
            let error = resolver.clone().resolve(name("no")).await.unwrap_err();
            assert_eq!(error.to_string(), "no such name");
            assert_eq!(calls.load(Ordering::SeqCst), n);
        }
        let cell = resolver.cell("yes");
        cell.lock().await.as_mut().unwrap().at -= GOOD_FOR;
        resolver.clone().resolve(name("yes")).await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn one_dead_name_takes_one_thread_whoever_gives_up() {
        let (resolver, calls, open) = counting();
        for _ in 0..20 {
            let asked = timeout(Duration::from_millis(5), resolver.clone().resolve(name("dead")));
            assert!(asked.await.is_err());
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        resolver.clone().resolve(name("yes")).await.unwrap();
        drop(open);
        resolver.clone().resolve(name("dead")).await.unwrap();
    }

    #[tokio::test]
    async fn a_dead_resolver_has_few_threads() {
        let (resolver, calls, open) = counting();
        for n in 0..3 * THREADS {
            let asked = resolver.clone().resolve(name(&format!("dead{n}")));
            assert!(timeout(Duration::from_millis(5), asked).await.is_err());
        }
        assert!(calls.load(Ordering::SeqCst) <= THREADS);
        drop(open);
        resolver.clone().resolve(name("yes")).await.unwrap();
    }

    #[tokio::test]
    async fn names_are_bounded() {
        let (resolver, _, _open) = counting();
        for n in 0..NAMES + 10 {
            resolver.cell(&n.to_string());
        }
        assert!(resolver.cells.lock().unwrap().len() <= NAMES);
    }
}
