//! Names to addresses, without a thread for each question when no name server answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::LazyLock;
use tokio::sync::Semaphore;

/// How many names are looked up at the same time: each holds a thread, also when nobody waits for it any more.
const AT_ONCE: usize = 4;

static LOOKUPS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// The addresses of a host. The caller bounds it.
pub(super) async fn resolve(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let permit = LOOKUPS.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let host = host.to_owned();
    // A task of its own: the permit is held until the thread is done, however long the caller waits.
    let lookup = tokio::spawn(async move {
        let found = tokio::net::lookup_host((host, port)).await.map(Iterator::collect);
        drop(permit);
        found
    });
    lookup.await.map_err(std::io::Error::other)?
}
