//! By which way a URL is asked: `http.proxy`, else curl's environment variables (http.c, get_curl_handle).
//!
//! What git would call an error, or can and we cannot, is a phrase for people: git is to ask then, and to tell.

use super::urlmatch::Url;
use super::variables::Variables;
use super::{Login, Proxy};
use crate::git::remote::Remote;
use hyper_util::client::proxy::matcher::Matcher;

/// Curl's, and no browser's: 80 would be.
const PORT: u16 = 1080;

/// `configured` is `http.proxy` if it is set, `method` is `http.proxyAuthMethod`.
pub(super) fn decide(
    configured: Option<&str>,
    method: Option<&str>,
    variables: &Variables,
    url: &Url,
) -> Result<Proxy, String> {
    let address = match configured {
        Some(address) => address.to_owned(),
        None => by_variable(variables, &url.scheme).unwrap_or_default(),
    };
    if address.is_empty() || is_exempt(variables, &url.host) {
        return Ok(Proxy::None);
    }
    let method = variables
        .text("GIT_HTTP_PROXY_AUTHMETHOD")
        .or(method.map(str::to_owned));
    match method.as_deref() {
        Some(method @ ("digest" | "negotiate" | "ntlm")) => Err(format!("http.proxyAuthMethod is {method}")),
        _ => parse(&address),
    }
}

/// Lower case first. `HTTP_PROXY` is for nobody: a CGI server sets it to what a stranger sent.
fn by_variable(variables: &Variables, scheme: &str) -> Option<String> {
    let own: &[&str] = match scheme {
        "https" => &["https_proxy", "HTTPS_PROXY"],
        _ => &["http_proxy"],
    };
    variables
        .first(own)
        .or_else(|| variables.first(&["all_proxy", "ALL_PROXY"]))
}

/// `no_proxy`, which holds for `http.proxy` too.
fn is_exempt(variables: &Variables, host: &str) -> bool {
    let list = variables.first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
    if list.trim() == "*" {
        return true;
    }
    // To curl a star among others is no star, spaces separate too, and a dot at the end says nothing.
    let entries = list
        .split([',', ' ', '\t'])
        .map(|entry| entry.trim_end_matches('.'))
        .filter(|entry| !entry.is_empty() && *entry != "*");
    let matcher = Matcher::builder()
        .all("http://proxy")
        .no(entries.collect::<Vec<_>>().join(","))
        .build();
    let host = host.trim_end_matches('.');
    let address = format!("http://{host}/").parse::<hyper::Uri>();
    address.is_ok_and(|address| matcher.intercept(&address).is_none())
}

fn parse(address: &str) -> Result<Proxy, String> {
    let address = match address.contains("://") {
        true => address.to_owned(),
        false => format!("http://{address}"),
    };
    let proxy = Remote::new(&address);
    let odd = || "the proxy's address is none that is known here".to_owned();
    let (scheme, authority) = proxy.url.split_once("://").ok_or_else(odd)?;
    match scheme {
        "http" => {}
        "https" => return Err("the proxy is to be asked over TLS".to_owned()),
        socks if socks.starts_with("socks") => return Err("the proxy speaks SOCKS".to_owned()),
        _ => return Err(odd()),
    }
    let authority: hyper::http::uri::Authority = authority.trim_end_matches('/').parse().map_err(|_| odd())?;
    let login = match proxy.credentials {
        None => None,
        Some(credentials) if credentials.username.is_empty() => {
            return Err("the proxy is to be asked with a ticket".to_owned());
        }
        Some(credentials) => Some(Login {
            username: credentials.username,
            password: credentials
                .password
                .ok_or("the proxy's password is to be asked of a credential helper")?,
        }),
    };
    let port = match authority.port_u16() {
        Some(port) => port,
        None if authority.as_str() == authority.host() && !authority.host().is_empty() => PORT,
        None => return Err(odd()),
    };
    Ok(Proxy::Http {
        url: format!("http://{}:{port}", authority.host()),
        login,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(configured: Option<&str>, environment: &[(&str, &str)], url: &str) -> Result<Option<String>, String> {
        let variables = Variables::new(environment.iter().map(|(n, v)| (n.into(), v.into())));
        let proxy = decide(configured, None, &variables, &Url::parse(url).unwrap())?;
        Ok(match proxy {
            Proxy::None => None,
            Proxy::Http { url, login } => {
                Some(login.map_or(url.clone(), |l| format!("{url} as {}:{}", l.username, l.password)))
            }
        })
    }

    #[test]
    fn the_way_of_git_and_curl() {
        let all = [
            ("ALL_PROXY", "a:1"),
            ("https_proxy", "s:2"),
            ("HTTPS_PROXY", "S:3"),
            ("HTTP_PROXY", "H:4"),
        ];
        let empty = [("ALL_PROXY", "a:1"), ("https_proxy", "")];
        let (http, https) = ("http://h/x", "https://h/x");
        for (configured, environment, url, way) in [
            (None, &[][..], https, None),
            (None, &all, https, Some("http://s:2")),
            // HTTP_PROXY counts for nothing.
            (None, &all, http, Some("http://a:1")),
            (None, &empty, https, None),
            (Some("c:5"), &all, https, Some("http://c:5")),
            (Some(""), &all, https, None),
            (Some("http://p/"), &[], http, Some("http://p:1080")),
            (Some("http://p:80"), &[], http, Some("http://p:80")),
            (Some("u%40d:p%3a@p:8"), &[], http, Some("http://p:8 as u@d:p:")),
            (Some("http://[::1]:8"), &[], http, Some("http://[::1]:8")),
        ] {
            assert_eq!(
                decided(configured, environment, url),
                Ok(way.map(str::to_owned)),
                "{configured:?} {environment:?} {url}"
            );
        }
    }

    #[test]
    fn what_only_git_can() {
        for proxy in [
            "https://p",
            "socks5h://p:1",
            "socks://p",
            "ftp://p",
            "http://p/path",
            "http://u@p",
            "http://:@p",
            "http://a b",
            "http://",
            "http://p:99999",
        ] {
            let said = decided(Some(proxy), &[], "http://h").unwrap_err();
            assert!(!said.contains("//") && !said.contains('@'), "{said}");
            assert_eq!(decided(Some(proxy), &[("no_proxy", "h")], "http://h"), Ok(None));
        }
        let url = Url::parse("http://h").unwrap();
        let variables = Variables::new([]);
        assert!(decide(Some("p"), Some("ntlm"), &variables, &url).is_err());
        assert!(decide(Some("p"), Some("basic"), &variables, &url).is_ok());
        assert_eq!(decide(None, Some("ntlm"), &variables, &url), Ok(Proxy::None));
    }

    #[test]
    fn who_is_exempt() {
        for (list, host, exempt) in [
            ("", "h", false),
            ("*", "h", true),
            (" * ", "10.0.0.1", true),
            ("*,x", "h", false),
            ("h", "h", true),
            ("h", "H", true),
            ("h", "a.h", true),
            (".h", "a.h", true),
            (".h", "h", true),
            ("h", "ah", false),
            ("a.h", "h", false),
            ("x, h y", "y", true),
            ("h.", "h", true),
            ("h", "h.", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("::1", "[::1]", true),
            ("127.0.0.1", "127.0.0.1", true),
        ] {
            let variables = Variables::new([("NO_PROXY".into(), list.into())]);
            assert_eq!(is_exempt(&variables, &host.to_lowercase()), exempt, "{list:?} {host}");
        }
        let both = Variables::new([("NO_PROXY".into(), "h".into()), ("no_proxy".into(), "".into())]);
        assert!(!is_exempt(&both, "h"), "lower case counts, even if it is empty");
    }
}
