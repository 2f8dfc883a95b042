//! From a config's path to a running loop, and out again.

use super::core::Daemon;
use super::door::{DaemonError, Options};
use super::happening::Happening;
use super::listening::Listening;
use super::{logging, mirrors};
use crate::api;
use crate::config;
use crate::process::become_subreaper;
use crate::store::{Lock, Store};
use crate::workdir::{self, Layout};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> DaemonError {
    move |source| DaemonError::System { what, source }
}

/// Runs the daemon until a signal ends it.
pub fn run(options: Options) -> Result<(), DaemonError> {
    let loaded = config::load(&options.config, &options.overrides)?;
    let level = logging::start(&loaded.config.log)?;
    for warning in &loaded.warnings {
        tracing::warn!("{}", loaded.source.line(warning));
    }
    let workdir = loaded.config.workdir.clone();
    workdir::prepare(&workdir)?;
    let _lock = Lock::take(&workdir)?;
    let store = Store::open(&workdir)?;
    become_subreaper().map_err(system("become the parent of orphans"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the runtime"))?;
    let ended = runtime.block_on(async {
        let (tell, happenings) = mpsc::unbounded_channel();
        let (ask, requests) = mpsc::channel(16);
        signals(&tell).map_err(system("listen to signals"))?;
        // Removed when it goes out of scope.
        let (listener, _socket) = api::bind(&workdir, api::runtime_directory().as_deref())?;
        let closing = CancellationToken::new();
        let mut listening = Listening::new(ask.clone(), &loaded.config);
        listening.listen(loaded.config.listen).await?;
        let server = tokio::spawn(api::serve(listener, ask, listening.hooks(), closing.clone()));
        let mirrors = mirrors::open(&Layout::new(&workdir)).map_err(system("start a thread"))?;
        let daemon = Daemon::new(options, loaded.config, store, mirrors, level, listening, tell)?;
        daemon.run(happenings, requests).await;
        closing.cancel();
        if let Err(error) = server.await {
            tracing::debug!(%error, "the control socket");
        }
        Ok(())
    });
    // A look at a dead file system may never come back.
    runtime.shutdown_background();
    ended
}

fn signals(tell: &mpsc::UnboundedSender<Happening>) -> std::io::Result<()> {
    let pass_on = |kind: SignalKind, happening: fn() -> Happening| {
        let tell = tell.clone();
        let mut signals = signal(kind)?;
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if tell.send(happening()).is_err() {
                    return;
                }
            }
        });
        std::io::Result::Ok(())
    };
    pass_on(SignalKind::hangup(), || Happening::Reload)?;
    pass_on(SignalKind::interrupt(), || Happening::Drain)?;
    pass_on(SignalKind::terminate(), || Happening::Stop)?;
    pass_on(SignalKind::quit(), || Happening::Stop)
}
