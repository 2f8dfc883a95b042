//! Logins, wrapped so that no derived text shows them.

/// A password or a token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For whom it is meant, and for nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// The name by which docker's helpers say that the password is an identity token.
pub(super) const TOKEN_NAME: &str = "<token>";

/// A login at a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The login name; `<token>` if the password is an identity token.
    pub username: String,
    /// The password, or an identity token.
    pub password: Secret,
}

impl Credentials {
    /// Whether it is a token that is exchanged for others (OAuth 2 refresh token), and no password.
    pub(super) fn is_identity_token(&self) -> bool {
        self.username == TOKEN_NAME
    }
}

/// A file in the form of containers' auth.json and docker's config.json with these logins. It is a secret.
pub fn auth_json(logins: &[(String, Credentials)]) -> String {
    use base64::Engine;
    let entry = |(registry, login): &(String, Credentials)| {
        let key = match registry.as_str() {
            // Docker and kaniko know it by this name only, and containers too.
            "docker.io" => super::authfile::HUB_KEY.to_owned(),
            other => other.to_owned(),
        };
        let secret = login.password.expose();
        let value = if login.is_identity_token() {
            serde_json::json!({ "identitytoken": secret })
        } else {
            let pair = format!("{}:{secret}", login.username);
            serde_json::json!({ "auth": base64::engine::general_purpose::STANDARD.encode(pair) })
        };
        (key, value)
    };
    let auths: serde_json::Map<_, _> = logins.iter().map(entry).collect();
    serde_json::json!({ "auths": auths }).to_string()
}
