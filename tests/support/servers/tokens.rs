//! A token server, and the gate that its tokens open: what a registry with bearer tokens does.

use super::faults::{Fault, Request};
use super::scripted::{Act, Server, answer};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Gives tokens that are good for so many requests.
pub struct Tokens {
    server: Server,
    gate: Gate,
}

/// Lets requests with a good token pass.
#[derive(Clone)]
pub struct Gate {
    /// Uses that are left.
    tokens: Arc<Mutex<HashMap<String, usize>>>,
    realm: Arc<Mutex<String>>,
}

impl Tokens {
    /// `login` is what must be in a request for a token, say `Basic dTpw`; none: anyone gets one.
    pub fn start(login: Option<String>, uses: usize) -> Self {
        let tokens: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let given = Arc::clone(&tokens);
        let server = Server::start(move |number, request| {
            let lower = request.to_lowercase();
            let fine = login.as_ref().is_none_or(|login| lower.contains(&login.to_lowercase()));
            if !fine {
                return Act::HangUp(answer("401 Unauthorized", "Connection: close\r\n", "{}"));
            }
            let token = format!("token-{number}-of-test");
            given.lock().unwrap().insert(token.clone(), uses);
            let body = format!(r#"{{"token":"{token}","expires_in":300}}"#);
            Act::HangUp(answer("200 OK", "Connection: close\r\n", &body))
        });
        let realm = Arc::new(Mutex::new(server.url("/token")));
        Self {
            server,
            gate: Gate { tokens, realm },
        }
    }

    /// For the script of a proxy.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// The text of each request for a token.
    pub fn requests(&self) -> Vec<String> {
        self.server.requests()
    }
}

impl Gate {
    /// Refuses what has no token that is good.
    pub fn check(&self, request: &Request) -> Option<Fault> {
        let mut tokens = self.tokens.lock().unwrap();
        let token = request.authorization.strip_prefix("Bearer ").unwrap_or_default();
        match tokens.get_mut(token) {
            Some(left) if *left > 0 => {
                *left -= 1;
                None
            }
            _ => {
                let realm = self.realm.lock().unwrap();
                let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"test\"\r\n");
                Some(Fault::Answer(401, challenge))
            }
        }
    }
}
