//! Against real servers, and against some that no one would run.

mod hostile;
mod login;
mod proxy;
mod real;

use super::{Http, Memory, Question, Vault};
use crate::git::ask::reply::{Digest, Limits, Missed, Reply};
use crate::git::list::ListError;
use crate::git::world::{HttpSettings, Login, Proxy, Tls};
use crate::support::servers::scripted as server;
use std::sync::Mutex;
use std::time::Duration;

pub(super) const LONG: Duration = Duration::from_secs(60);
pub(super) const SHORT: Duration = Duration::from_millis(300);

pub(super) fn login(username: &str, password: &str) -> Login {
    Login {
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

/// Notes what it is asked and told.
#[derive(Default)]
pub(super) struct Keys {
    /// For URLs that begin so.
    pub known: Option<(String, Login)>,
    pub helper: Option<Login>,
    pub log: Mutex<Vec<String>>,
}

impl Keys {
    fn note(&self, what: &str) {
        self.log.lock().unwrap().push(what.to_owned());
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Vault for Keys {
    fn known(&self, url: &str) -> Option<Login> {
        let (origin, login) = self.known.as_ref()?;
        url.starts_with(origin).then(|| login.clone())
    }

    async fn fill(&self, _: &str) -> Result<Option<Login>, Missed> {
        self.note("fill");
        Ok(self.helper.clone())
    }

    async fn approve(&self, _: &str, login: &Login) {
        self.note(&format!("approve {}", login.password));
    }

    async fn reject(&self, _: &str, login: &Login) {
        self.note(&format!("reject {}", login.password));
    }
}

/// A remote as a poller keeps it.
pub(super) struct Remote {
    pub url: String,
    pub http: Http,
    pub settings: HttpSettings,
    pub keys: Keys,
    pub limits: Limits,
    pub memory: Memory,
    pub known: Option<Digest>,
}

impl Remote {
    pub fn new(url: impl Into<String>) -> Self {
        let tls = Tls {
            verify: true,
            ca_file: None,
            ca_path: None,
        };
        Self {
            url: url.into(),
            http: Http::new(),
            settings: HttpSettings {
                proxy: Proxy::None,
                headers: Vec::new(),
                tls,
                user_agent: "git/2.0".into(),
                follow_redirects: true,
                unable: None,
            },
            keys: Keys::default(),
            limits: Limits {
                connect: LONG,
                first_byte: LONG,
                whole: LONG,
                size: 1 << 20,
            },
            memory: Memory::default(),
            known: None,
        }
    }

    pub async fn ask(&mut self) -> Result<Reply, Missed> {
        let question = Question {
            url: &self.url,
            masked: "remote",
            settings: &self.settings,
            vault: &self.keys,
            limits: &self.limits,
        };
        let reply = self.http.ask(&question, &mut self.memory, self.known).await?;
        if let Reply::Refs { digest, .. } = &reply {
            self.known = Some(*digest);
        }
        Ok(reply)
    }

    /// The names and hashes; panics at anything else.
    #[track_caller]
    pub fn refs(reply: Result<Reply, Missed>) -> Vec<(String, String)> {
        let Ok(Reply::Refs { list, .. }) = reply else {
            panic!("{reply:?}")
        };
        let refs = list.refs.iter();
        refs.map(|(name, commit)| (name.to_string(), commit.to_string()))
            .collect()
    }

    /// What went wrong; panics if nothing did.
    pub async fn error(&mut self) -> ListError {
        match self.ask().await {
            Err(Missed::Error(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    /// Why only git can do it; panics otherwise.
    pub async fn unable(&mut self) -> String {
        match self.ask().await {
            Err(Missed::Unable(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}
