//! What went wrong, and whether a handshake could set it right.

use super::super::reply::Missed;
use super::clients::Unusable;
use super::connect::TookTooLong;
use super::resolver::UnknownHost;
use super::stream::Kept;
use super::tls::{Judgement, judge};
use super::{Asking, words};
use crate::git::list::ListError;
use crate::git::wire::WireError;
use crate::git::world::Proxy;
use hyper_util::client::legacy;
use std::error::Error;
use std::io;
use std::time::Duration;

/// Why a request brought nothing home.
#[derive(Debug)]
pub(super) enum Trouble {
    /// To ask again at once would be no use, or no kindness.
    Last(Missed),
    /// Not what was expected: what is remembered of the server may no longer be true.
    Odd(Missed),
}

impl Trouble {
    /// When the handshake is what failed.
    pub fn into_missed(self) -> Missed {
        match self {
            Self::Last(missed) | Self::Odd(missed) => missed,
        }
    }
}

impl<V> Asking<'_, V> {
    fn remote(&self) -> String {
        self.question.masked.to_owned()
    }

    /// After one of the deadlines.
    pub fn timed_out(&self, timeout: Duration) -> Missed {
        let remote = self.remote();
        Missed::Error(ListError::TimedOut { remote, timeout })
    }

    /// The answer is longer than the limit.
    pub fn too_long(&self) -> Trouble {
        let (remote, limit) = (self.remote(), self.question.limits.size);
        Trouble::Last(Missed::Error(ListError::TooLong { remote, limit }))
    }

    /// Something answers, but not as git does.
    pub fn not_git(&self, said: impl Into<String>) -> Trouble {
        let (remote, said) = (self.remote(), said.into());
        Trouble::Odd(Missed::Error(ListError::NotGit { remote, said }))
    }

    /// The login is missing or wrong.
    pub fn not_allowed(&self, said: impl Into<String>) -> Trouble {
        let (remote, said) = (self.remote(), said.into());
        Trouble::Odd(Missed::Error(ListError::Auth { remote, said }))
    }

    /// The server said no.
    pub fn refused(&self, said: impl Into<String>) -> Trouble {
        let (remote, said) = (self.remote(), said.into());
        Trouble::Odd(Missed::Error(ListError::Refused { remote, said }))
    }

    /// The settings name certificates or a proxy that cannot be used.
    pub fn unusable(&self, unusable: Unusable) -> Trouble {
        let remote = self.remote();
        Trouble::Last(match unusable {
            Unusable::Certificates(said) => Missed::Error(ListError::Untrusted { remote, said }),
            Unusable::Proxy => Missed::Unable("the proxy's URL or login cannot be sent as it is".to_owned()),
        })
    }

    /// The server is there, and names no repository, or wants to be left alone, and so on.
    pub fn bad_status(&self, status: hyper::StatusCode, headers: &hyper::HeaderMap) -> Trouble {
        let (remote, said) = (self.remote(), format!("it answers {status}"));
        match status.as_u16() {
            401 | 403 => self.not_allowed(said),
            404 | 410 => Trouble::Odd(Missed::Error(ListError::Missing { remote, said })),
            407 => self.unreachable(NO_PROXY_LOGIN),
            429 | 503 => {
                let wait = words::retry_after(headers, std::time::SystemTime::now());
                Trouble::Last(Missed::Error(ListError::Busy { remote, said, wait }))
            }
            _ => self.refused(said),
        }
    }

    /// The answer is not what git servers send.
    pub fn bad_answer(&self, error: WireError) -> Trouble {
        match error {
            WireError::Server(said) => {
                Trouble::Odd(Missed::Error(ListError::in_words(self.remote(), said.clone(), &said)))
            }
            error => self.not_git(words::plain(&error.to_string())),
        }
    }

    /// The request did not get there, or the answer not here.
    pub fn failed(&self, error: &legacy::Error) -> Trouble {
        if error.is_connect() {
            return Trouble::Last(self.not_connected(error));
        }
        self.broken(error)
    }

    /// A connection that was made broke.
    pub fn broken(&self, error: &(dyn Error + 'static)) -> Trouble {
        for cause in causes(error) {
            if let Some(error) = cause.downcast_ref::<hyper::Error>() {
                if error.is_parse_too_large() {
                    return self.not_git("the headers of its answer are too long");
                } else if error.is_parse() {
                    return self.not_git("it does not speak HTTP");
                }
            } else if let Some(error) = cause.downcast_ref::<rustls::Error>() {
                return Trouble::Odd(self.not_trusted(error));
            }
        }
        Trouble::Odd(self.unreachable_missed(HUNG_UP))
    }

    fn not_connected(&self, error: &legacy::Error) -> Missed {
        let remote = self.remote();
        let mut said = "no connection".to_owned();
        for cause in causes(error) {
            if let Some(unknown) = cause.downcast_ref::<UnknownHost>() {
                let said = self.by_proxy(&words::plain(&unknown.to_string()));
                return Missed::Error(ListError::HostUnknown { remote, said });
            } else if cause.is::<TookTooLong>() {
                return self.timed_out(self.question.limits.connect);
            } else if let Some(error) = cause.downcast_ref::<rustls::Error>() {
                return self.not_trusted(error);
            }
            // The tunnel's error has no public name.
            said = match cause.to_string().as_str() {
                "tunnel error: proxy authorization required" => NO_PROXY_LOGIN.to_owned(),
                "tunnel error: unsuccessful" => "the proxy does not connect to it".to_owned(),
                "tunnel error: unexpected end of file" => "the proxy hung up".to_owned(),
                text => words::plain(text),
            };
        }
        self.unreachable_missed(&said)
    }

    fn not_trusted(&self, error: &rustls::Error) -> Missed {
        let remote = self.remote();
        match judge(error) {
            Judgement::Untrusted(said) => Missed::Error(ListError::Untrusted {
                remote,
                said: said.to_owned(),
            }),
            Judgement::Unable(why) => Missed::Unable(why.to_owned()),
            Judgement::NotTls => Missed::Error(ListError::NotGit {
                remote,
                said: "it does not speak TLS".to_owned(),
            }),
        }
    }

    fn unreachable(&self, said: &str) -> Trouble {
        Trouble::Last(self.unreachable_missed(said))
    }

    fn unreachable_missed(&self, said: &str) -> Missed {
        let (remote, said) = (self.remote(), self.by_proxy(said));
        Missed::Error(ListError::Unreachable { remote, said })
    }

    /// Whoever reads it must know that a proxy is in between.
    fn by_proxy(&self, said: &str) -> String {
        match &self.question.settings.proxy {
            Proxy::None => said.to_owned(),
            Proxy::Http { url, .. } => format!("by the proxy {url}: {said}"),
        }
    }
}

/// Whether a kept connection ended without a byte of an answer: the server may have closed it before it was asked.
pub(super) fn was_stale(error: &legacy::Error) -> bool {
    let is_rubbish =
        |cause: &(dyn Error + 'static)| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
    error.connect_info().is_some_and(Kept::had_answered) && !causes(error).any(is_rubbish)
}

const HUNG_UP: &str = "it hung up before its answer was whole";
const NO_PROXY_LOGIN: &str = "the proxy wants a login that `http.proxy` does not give";

/// An error and what caused it, also within [`io::Error`], whose `source` leaves out what it was made of.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let next = |error: &&'a (dyn Error + 'static)| -> Option<&'a (dyn Error + 'static)> {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => error.source(),
        }
    };
    std::iter::successors(Some(error), next)
}
