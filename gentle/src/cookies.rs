//! Cookies, as RFC 6265 keeps them: which answers set them, and which requests they are sent with.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::header::SET_COOKIE;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Uri};

/// The most cookies that are kept; the oldest go first.
const MOST: usize = 1_000;

/// The cookies of a job or of a session.
#[derive(Debug, Default)]
pub(crate) struct Jar(Vec<Cookie>);

#[derive(Debug)]
struct Cookie {
    name: String,
    value: String,
    domain: String,
    /// Whether hosts below the domain get it, too.
    for_hosts_below: bool,
    path: String,
    secure: bool,
    until: Option<SystemTime>,
}

impl Jar {
    /// Keeps the cookies that an answer from `url` sets.
    pub(crate) fn store(&mut self, url: &Uri, headers: &HeaderMap, now: SystemTime) {
        let texts = headers.get_all(SET_COOKIE).iter().filter_map(|text| text.to_str().ok());
        for cookie in texts.filter_map(|text| Cookie::read(text, url, now)) {
            self.0.retain(|known| !known.is_replaced_by(&cookie));
            if cookie.until.is_none_or(|until| until > now) {
                self.0.push(cookie);
            }
        }
        let excess = self.0.len().saturating_sub(MOST);
        self.0.drain(..excess);
    }

    /// The header for a request to `url`, behind what the plan says of it.
    pub(crate) fn header(
        &self,
        url: &Uri,
        own: Option<&HeaderValue>,
        now: SystemTime,
    ) -> Option<HeaderValue> {
        let mut fit: Vec<_> = self.0.iter().filter(|cookie| cookie.fits(url, now)).collect();
        if fit.is_empty() {
            return None;
        }
        fit.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let own = own.and_then(|own| own.to_str().ok()).map(str::to_owned);
        let pairs = fit.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value));
        let pairs = own.into_iter().chain(pairs).collect::<Vec<_>>();
        HeaderValue::from_str(&pairs.join("; ")).ok()
    }
}

impl Cookie {
    fn read(text: &str, url: &Uri, now: SystemTime) -> Option<Self> {
        let mut parts = text.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let host = host(url)?;
        let mut cookie = Cookie {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
            domain: host.clone(),
            for_hosts_below: false,
            path: default_path(url).to_owned(),
            secure: false,
            until: None,
        };
        let mut has_max_age = false;
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "domain" if !value.is_empty() => {
                    let domain = value.trim_start_matches('.').to_ascii_lowercase();
                    // A domain without a dot is a whole country's, or the host itself.
                    cookie.for_hosts_below = domain.contains('.');
                    if domain != host && !(cookie.for_hosts_below && is_below(&host, &domain)) {
                        return None;
                    }
                    cookie.domain = domain;
                }
                "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
                "secure" => cookie.secure = true,
                "max-age" => {
                    if let Ok(seconds) = value.parse::<i64>() {
                        has_max_age = true;
                        let lasts = Duration::from_secs(seconds.max(0) as u64);
                        cookie.until = now.checked_add(lasts);
                    }
                }
                "expires" if !has_max_age => {
                    let date = httpdate::parse_http_date(&value.replace('-', " "));
                    cookie.until = date.ok().or(cookie.until);
                }
                _ => {}
            }
        }
        (!cookie.name.is_empty()).then_some(cookie)
    }

    fn is_replaced_by(&self, other: &Cookie) -> bool {
        (&self.name, &self.domain, &self.path) == (&other.name, &other.domain, &other.path)
    }

    fn fits(&self, url: &Uri, now: SystemTime) -> bool {
        let Some(host) = host(url) else { return false };
        let path = match url.path() {
            "" => "/",
            path => path,
        };
        let below = path.strip_prefix(self.path.as_str());
        let fits_path = below.is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/')
        });
        (host == self.domain || self.for_hosts_below && is_below(&host, &self.domain))
            && fits_path
            && (!self.secure || url.scheme() == Some(&Scheme::HTTPS))
            && self.until.is_none_or(|until| until > now)
    }
}

fn host(url: &Uri) -> Option<String> {
    url.host().map(str::to_ascii_lowercase)
}

/// Whether a host is below a domain. An address is below nothing.
fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        && host.parse::<IpAddr>().is_err()
}

/// The folder of the URL.
fn default_path(url: &Uri) -> &str {
    match url.path().rfind('/') {
        None | Some(0) => "/",
        Some(end) => &url.path()[..end],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn jar(url: &str, texts: &[&str]) -> Jar {
        let mut jar = Jar::default();
        for text in texts {
            let headers = HeaderMap::from_iter([(SET_COOKIE, text.parse().unwrap())]);
            jar.store(&url.parse().unwrap(), &headers, NOW);
        }
        jar
    }

    /// What is sent with a request, a second after the epoch.
    fn sent(jar: &Jar, url: &str) -> String {
        let header = jar.header(&url.parse().unwrap(), None, NOW + Duration::from_secs(1));
        header.map_or_else(String::new, |header| header.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_cookie_goes_to_its_host_and_path() {
        let jar = jar("http://a.example/b/c?d", &["x=1", "y=2; Path=/", "z=3; path=/b/c; secure"]);
        assert_eq!(sent(&jar, "http://a.example/b/c"), "x=1; y=2");
        assert_eq!(sent(&jar, "https://A.example/b/c/d"), "z=3; x=1; y=2");
        assert_eq!(sent(&jar, "http://a.example/bc"), "y=2");
        assert_eq!(sent(&jar, "http://a.example"), "y=2");
        for other in ["http://b.example/b/", "http://c.a.example/b/", "http://example/"] {
            assert_eq!(sent(&jar, other), "");
        }
    }

    #[test]
    fn a_domain_is_shared_by_the_hosts_below_it() {
        let shared = jar("http://a.b.example/", &["x=1; Domain=.B.example"]);
        for url in ["http://b.example/", "http://a.b.example/", "http://c.b.example/"] {
            assert_eq!(sent(&shared, url), "x=1");
        }
        assert_eq!(sent(&shared, "http://cb.example/"), "");
        for foreign in ["x=1; domain=c.example", "x=1; domain=example", "x=1; domain=b.a.example"] {
            assert_eq!(sent(&jar("http://a.example/", &[foreign]), "http://a.example/"), "");
        }
        assert_eq!(
            sent(&jar("http://127.0.0.1/", &["x=1; domain=0.0.1"]), "http://127.0.0.1/"),
            ""
        );
        let own = jar("http://localhost/", &["x=1; domain=localhost"]);
        assert_eq!(sent(&own, "http://localhost/"), "x=1");
        assert_eq!(sent(&own, "http://a.localhost/"), "");
    }

    #[test]
    fn a_cookie_is_replaced_and_ends() {
        let url = "http://a/";
        assert_eq!(sent(&jar(url, &["x=1", "x=2", "y=", " z = 3 ;HttpOnly"]), url), "x=2; y=; z=3");
        assert_eq!(sent(&jar(url, &["x=1", "x=; max-age=0"]), url), "");
        assert_eq!(sent(&jar(url, &["x=1; max-age=1"]), url), "");
        assert_eq!(
            sent(&jar(url, &["x=1; max-age=2; expires=Thu, 01 Jan 1970 00:00:00 GMT"]), url),
            "x=1"
        );
        assert_eq!(
            sent(&jar(url, &["x=1", "x=2; expires=Thu, 01-Jan-1970 00:00:00 GMT"]), url),
            ""
        );
        assert_eq!(sent(&jar(url, &["x=1; expires=Thu, 01 Jan 2099 00:00:00 GMT"]), url), "x=1");
        assert_eq!(sent(&jar(url, &["nothing", "=1", "x=1; max-age=soon"]), url), "x=1");
        let own = HeaderValue::from_static("own=0");
        let header = jar(url, &["x=1"]).header(&url.parse().unwrap(), Some(&own), NOW).unwrap();
        assert_eq!(header, "own=0; x=1");
    }
}
