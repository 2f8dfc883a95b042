//! What a registry asks for: `WWW-Authenticate`, and the question to a token server that follows from it. Pure.

use http_auth::ChallengeParser;
use reqwest::Url;

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token that another server gives.
    Bearer {
        /// The token server.
        realm: Url,
        /// Whom the token is for.
        service: Option<String>,
    },
}

/// The first challenge that can be met, tokens before passwords.
pub(super) fn read<'a>(values: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for value in values {
        for challenge in ChallengeParser::new(value).map_while(Result::ok) {
            let param = |name: &str| {
                let mut all = challenge.params.iter();
                all.find(|(n, _)| n.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let realm = param("realm").and_then(|realm| Url::parse(&realm).ok());
                let usable = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
                if let Some(realm) = realm.filter(usable) {
                    return Some(Challenge::Bearer {
                        realm,
                        service: param("service"),
                    });
                }
            }
        }
    }
    basic
}

/// Where a token for these scopes is asked for (docs of distribution, "Token Authentication Specification").
pub(super) fn token_url(realm: &Url, service: Option<&str>, scopes: &[String], account: Option<&str>) -> Url {
    let mut url = realm.clone();
    let named = [("account", account), ("service", service)];
    url.query_pairs_mut()
        .extend_pairs(named.into_iter().filter_map(|(name, value)| Some((name, value?))))
        .extend_pairs(scopes.iter().map(|scope| ("scope", scope.as_str())));
    url
}

/// What may be done to a repository with a token.
pub(super) fn scope(repository: &str, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.parse().unwrap(),
            service: service.map(str::to_owned),
        })
    }

    #[rstest]
    #[case(&["Basic realm=\"x\""], Some(Challenge::Basic))]
    #[case(&["bearer Realm=\"https://a.io/t\",service=\"a, \\\"b\\\"\",scope=\"x\""], bearer("https://a.io/t", Some("a, \"b\"")))]
    #[case(&["Basic realm=x", "Bearer realm=\"https://a.io/t?x=1\""], bearer("https://a.io/t?x=1", None))]
    #[case(&["Basic realm=x, Bearer realm=\"https://a.io/t\""], bearer("https://a.io/t", None))]
    #[case(&["Bearer realm=\"/token\""], None)]
    #[case(&["Bearer realm=\"file:///etc/passwd\""], None)]
    #[case(&["Bearer service=\"a\""], None)]
    #[case(&["Negotiate"], None)]
    #[case(&[""], None)]
    fn reads_challenges(#[case] values: &[&str], #[case] challenge: Option<Challenge>) {
        assert_eq!(read(values.iter().copied()), challenge);
    }

    #[test]
    fn asks_for_all_scopes() {
        let realm = "https://a.io/t?x=1".parse().unwrap();
        let scopes = [scope("a/b", "pull,push"), scope("c", "pull")];
        let url = token_url(&realm, Some("s p"), &scopes, None);
        let expected =
            "https://a.io/t?x=1&service=s+p&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%3Apull";
        assert_eq!(url.as_str(), expected);
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_left(value in "(Bearer |Basic |realm=|\"|,|https://a|[ -~]){0,12}") {
            let _ = read([value.as_str()].into_iter());
        }
    }
}
