//! The control socket of a daemon that does nothing but answer.

use pipelined::api::{Command, Hooks, bind, serve};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Serves until it is stopped or dropped.
pub struct Answering {
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    /// In this workdir, which is there; `answer` has every request.
    pub fn start<F>(workdir: &Path, answer: impl FnOnce(mpsc::Receiver<Command>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = CancellationToken::new();
        let (ready, wait) = std::sync::mpsc::channel();
        let (path, token) = (workdir.to_owned(), shutdown.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let (listener, _file) = bind(&path, None).unwrap();
                let (tx, rx) = mpsc::channel(8);
                tokio::spawn(answer(rx));
                ready.send(()).unwrap();
                serve(listener, tx, Arc::new(Hooks::default()), token).await.unwrap();
            });
        });
        wait.recv().unwrap();
        Self {
            shutdown,
            thread: Some(thread),
        }
    }

    /// Ends it, and fails if it did not end well.
    pub fn stop(&mut self) {
        self.shutdown.cancel();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
