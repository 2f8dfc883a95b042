//! The first question: who is there, by which URL, as whom, and which protocol it speaks.

use super::super::reply::{Digest, Missed, Reply};
use super::exchange::Ask;
use super::memory::Place;
use super::place::Base;
use super::trouble::Trouble;
use super::vault::{Challenge, Vault};
use super::{Asking, words};
use crate::git::wire::{Advertisement, ObjectFormat, parse_advertisement};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, LOCATION};
use hyper::{HeaderMap, Response};
use std::sync::Arc;

/// Redirects that are followed for one question.
const REDIRECTS: usize = 5;

/// What a server says of itself.
pub(super) enum Greeting {
    /// Refs are to be asked for.
    V2(ObjectFormat),
    /// They are all there already.
    Refs(Reply),
}

impl<V: Vault> Asking<'_, V> {
    /// Follows redirects and finds a login. Gives back where it ended.
    pub async fn greet(&self, mut place: Place, known: Option<Digest>) -> Result<(Place, Greeting), Trouble> {
        let mut redirects = 0;
        // Whether the login is one that a credential helper gave, which wants to hear whether it was good.
        let mut filled = false;
        let answer = loop {
            let answer = self.send(&place, Ask::Greeting).await?;
            let status = answer.status();
            match status.as_u16() {
                200 => break answer,
                401 => {
                    let challenge = Challenge::of(answer.headers());
                    self.drain(answer).await;
                    self.log_in(&mut place, &mut filled, challenge).await?;
                }
                301 | 302 | 303 | 307 | 308 => {
                    redirects += 1;
                    let to = self.follow(&place, answer.headers(), redirects)?;
                    self.drain(answer).await;
                    filled &= self.move_to(&mut place, to)?;
                }
                _ => return Err(self.dismiss(answer).await),
            }
        };
        let answer = self.advertisement(answer).await?;
        if let (true, Some(login)) = (filled, &place.login) {
            self.question.vault.approve(place.base.as_str(), login).await;
        }
        let answer = self.read(answer).await?;
        if answer.is(known) {
            return Ok((place, Greeting::Refs(Reply::Unchanged)));
        }
        let greeting = match parse_advertisement(answer.bytes()).map_err(|e| self.bad_answer(e))? {
            Advertisement::V2(format) => Greeting::V2(format),
            Advertisement::Refs(list) => Greeting::Refs(answer.reply(list)),
        };
        Ok((place, greeting))
    }

    /// Only the type that git servers give: everything else is a web page, or files of git's on a server that knows
    /// nothing of git.
    async fn advertisement(&self, answer: Response<Incoming>) -> Result<Response<Incoming>, Trouble> {
        let media = words::media_type(answer.headers());
        if media == "application/x-git-upload-pack-advertisement" {
            return Ok(answer);
        }
        let mut body = answer.into_body();
        let begin = match body.frame().await {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            _ => Default::default(),
        };
        if words::is_dumb(&begin) {
            let why = "the server speaks only the dumb protocol".to_owned();
            return Err(Trouble::Odd(Missed::Unable(why)));
        }
        Err(self.not_git(format!("it sent {media:?}")))
    }

    /// Another login than the one that was refused, or the end.
    async fn log_in(&self, place: &mut Place, filled: &mut bool, challenge: Challenge) -> Result<(), Trouble> {
        let url = place.base.as_str();
        let vault = self.question.vault;
        if let (true, Some(login)) = (*filled, &place.login) {
            vault.reject(url, login).await;
            return Err(self.not_allowed(match login.password.is_empty() {
                true => "the name alone was refused, and no credential helper knows a password",
                false => "the login of the credential helper was refused",
            }));
        }
        let headers = &self.question.settings.headers;
        if place.is_home
            && headers
                .iter()
                .any(|h| h.name.eq_ignore_ascii_case(AUTHORIZATION.as_str()))
        {
            return Err(self.not_allowed("the login of `http.extraHeader` was refused"));
        }
        match challenge {
            Challenge::Basic => {}
            Challenge::Other(scheme) => {
                return Err(Trouble::Odd(Missed::Unable(format!("the server wants {scheme}"))));
            }
            Challenge::None => return Err(self.bad_status(StatusCode::UNAUTHORIZED, &HeaderMap::new())),
        }
        let other = vault.fill(url).await.map_err(Trouble::Last)?;
        let refused = place.login.take();
        match other {
            Some(other) if refused.as_deref() != Some(&other) => {
                place.login = Some(Arc::new(other));
                *filled = true;
                Ok(())
            }
            _ if refused.is_some() => Err(self.not_allowed("the login was refused")),
            _ => Err(self.not_allowed("it wants a login, and there is none")),
        }
    }

    /// Where a redirect leads.
    fn follow(&self, place: &Place, headers: &HeaderMap, redirects: usize) -> Result<Base, Trouble> {
        let location = words::text(headers, LOCATION).unwrap_or_default();
        let to = place.base.redirected(location).map_err(|said| self.not_git(said))?;
        if !self.question.settings.follow_redirects {
            let said = format!("it redirects to {}, and `http.followRedirects` is false", to.as_str());
            return Err(self.refused(said));
        }
        if redirects > REDIRECTS {
            return Err(self.refused(format!("it redirects more than {REDIRECTS} times")));
        }
        Ok(to)
    }

    /// Whether the login went along.
    fn move_to(&self, place: &mut Place, to: Base) -> Result<bool, Trouble> {
        let home = Base::new(self.question.url).ok_or_else(|| self.not_git("its URL is none"))?;
        let went_along = place.base.is_same_origin(&to);
        place.go(to, &home);
        if !went_along {
            place.login = self.question.vault.known(place.base.as_str()).map(Arc::new);
        }
        Ok(went_along)
    }
}
