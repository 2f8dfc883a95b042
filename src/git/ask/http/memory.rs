//! What is remembered of a remote between two questions. There is one for each of ten thousand remotes: it is small.

use super::place::Base;
use crate::git::wire::ObjectFormat;
use crate::git::world::Login;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a redirect is believed: a name that was moved may be given to another repository.
const MOVED_FOR: Duration = Duration::from_secs(60 * 60);

/// What a remote has shown of itself.
#[derive(Debug, Default)]
pub(in crate::git) enum Memory {
    /// Nothing yet, or nothing that is still true.
    #[default]
    Unknown,
    /// It has answered.
    Known(Known),
}

/// See [`Memory`].
#[derive(Debug)]
pub(in crate::git) struct Known {
    moved: Option<Box<Moved>>,
    login: Option<Arc<Login>>,
    speaks: Speaks,
}

#[derive(Debug)]
struct Moved {
    to: Base,
    until: Instant,
}

/// How a server is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// Protocol v2: one POST.
    V2(ObjectFormat),
    /// Protocol v0 or v1: the handshake's answer is the list.
    Refs,
}

/// Where to ask, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The repository.
    pub base: Base,
    /// Of the base's origin.
    pub login: Option<Arc<Login>>,
    /// Whether it is the origin of the remote's own URL, to which the user's headers belong.
    pub is_home: bool,
    moved: bool,
}

impl Memory {
    /// Where and how to ask without a handshake. `home` is the remote's own URL.
    pub(super) fn recall(&self, home: &Base) -> Option<(Place, Speaks)> {
        let Self::Known(known) = self else { return None };
        let mut place = Place::home(home.clone(), None);
        if let Some(moved) = &known.moved {
            if Instant::now() >= moved.until {
                return None;
            }
            place.go(moved.to.clone(), home);
        }
        place.login.clone_from(&known.login);
        Some((place, known.speaks))
    }
}

impl Place {
    /// The remote's own URL.
    pub fn home(base: Base, login: Option<Login>) -> Self {
        Self {
            base,
            login: login.map(Arc::new),
            is_home: true,
            moved: false,
        }
    }

    /// Follows a redirect. The login stays behind if the origin changes.
    pub fn go(&mut self, to: Base, home: &Base) {
        if !self.base.is_same_origin(&to) {
            self.login = None;
        }
        self.is_home = home.is_same_origin(&to);
        self.moved = to != *home;
        self.base = to;
    }

    /// What to keep of it.
    pub fn remember(self, speaks: Speaks) -> Memory {
        let Self { base, login, moved, .. } = self;
        let until = Instant::now() + MOVED_FOR;
        let moved = moved.then(|| Box::new(Moved { to: base, until }));
        Memory::Known(Known { moved, login, speaks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(url: &str) -> Base {
        Base::new(url).unwrap()
    }

    fn login() -> Login {
        Login {
            username: "name".into(),
            password: "hunter2".into(),
        }
    }

    #[test]
    fn is_small_and_tells_no_secret() {
        assert!(size_of::<Memory>() <= 32, "{}", size_of::<Memory>());
        let memory = Place::home(base("http://h/x"), Some(login())).remember(Speaks::Refs);
        let shown = format!("{memory:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("name"), "{shown}");
    }

    #[test]
    fn a_login_stays_at_its_origin() {
        let home = base("http://h/x");
        let mut place = Place::home(home.clone(), Some(login()));
        place.go(base("http://h/y"), &home);
        assert!(place.login.is_some() && place.is_home);
        place.go(base("https://h/y"), &home);
        assert!(place.login.is_none() && !place.is_home);
        place.go(base("http://h/x"), &home);
        assert!(place.login.is_none() && place.is_home);
    }

    #[test]
    fn a_redirect_is_not_believed_for_ever() {
        let home = base("http://h/x");
        let mut place = Place::home(home.clone(), None);
        place.go(base("http://h/y"), &home);
        let mut memory = place.remember(Speaks::V2(ObjectFormat::Sha1));
        let (recalled, speaks) = memory.recall(&home).unwrap();
        assert_eq!(
            (recalled.base.as_str(), speaks),
            ("http://h/y", Speaks::V2(ObjectFormat::Sha1))
        );
        if let Memory::Known(known) = &mut memory {
            known.moved.as_mut().unwrap().until = Instant::now();
        }
        assert!(memory.recall(&home).is_none());
    }
}
