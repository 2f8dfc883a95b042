//! HUP: another config, or the old one with every mistake told.

use super::core::Daemon;
use super::notify;
use super::watch::ConfigWatch;
use crate::config::{self, LoadError};
use crate::engine::Engine;
use crate::model::{Mode, error_chain};
use crate::reconcile::Event;
use crate::registry::Registries;
use std::sync::Arc;
use tracing::level_filters::LevelFilter;

impl Daemon {
    /// Reads the config again. Answers with what changed, or with the diagnostics.
    pub(super) fn reload(&mut self) -> Result<String, String> {
        notify::reloading();
        let result = self.try_reload();
        notify::ready();
        result
    }

    fn try_reload(&mut self) -> Result<String, String> {
        let loaded = match config::load(&self.options.config, &self.options.overrides) {
            Ok(loaded) => loaded,
            Err(error) => {
                let text = match &error {
                    LoadError::Invalid(diagnostics) => {
                        for diagnostic in diagnostics.list.iter().filter(|d| d.is_error()) {
                            tracing::error!("{}", diagnostics.source.line(diagnostic));
                        }
                        diagnostics.render(false)
                    }
                    LoadError::Read { .. } | LoadError::TooBig { .. } => {
                        tracing::error!("{}", error_chain(&error));
                        error_chain(&error)
                    }
                };
                tracing::error!("the config was not reloaded: the old one stays in force");
                return Err(text);
            }
        };
        for warning in &loaded.warnings {
            tracing::warn!("{}", loaded.source.line(warning));
        }
        let mut new = loaded.config;
        let diff = config::diff(&self.config, &new);
        if new.workdir != self.config.workdir {
            tracing::warn!("another workdir takes effect at the next start");
            new.workdir.clone_from(&self.config.workdir);
        }
        let same_log = new.log.dir == self.config.log.dir
            && new.log.format == self.config.log.format
            && new.log.keep == self.config.log.keep;
        if !same_log {
            tracing::warn!("log_dir, log_format and log_keep take effect at the next start");
        }
        if let Err(error) = self
            .level
            .modify(|level| *level = LevelFilter::from_level(new.log.level))
        {
            tracing::debug!(%error, "the log's level stays");
        }
        if new.engine != self.config.engine {
            self.engine = Arc::new(Engine::new(new.engine));
        }
        if new.registries != self.config.registries {
            self.registries = Registries::new(new.registries.clone());
        }
        self.config = new;
        self.heed_hooks();
        self.decide(Event::ConfigChanged);
        for name in diff.removed.iter().chain(&diff.changed) {
            self.forget_trouble(name);
        }
        if self.state.mode == Mode::Normal {
            self.polls.watch(&self.config);
        }
        self.prune_mirrors();
        self.watch_config();
        let told = if diff.is_empty() {
            "nothing changed".to_owned()
        } else {
            diff.to_string()
        };
        tracing::info!("reloaded: {told}");
        Ok(told)
    }

    pub(super) fn watch_config(&mut self) {
        if !self.config.watch_config {
            self.watch = None;
        } else if self.watch.is_none() {
            match ConfigWatch::start(&self.options.config, self.tell.clone()) {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => tracing::error!(%error, "cannot watch the config: reload it with HUP"),
            }
        }
    }
}
