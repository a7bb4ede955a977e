//! What a URL may be, and which host it is sent to.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::{Authority, Scheme};

use super::values::quoted;

const NO_URL: &str = "is no URL: write it like \"http://127.0.0.1:8080\"";
const NO_PORT: &str = "has a port that is none: use one from 1 to 65535";
const USER: &str = "has a user in it: use headers = { authorization = \"...\" }";
const FRAGMENT: &str = "has a #, which is not sent to servers: cut it off, or write %23";
const UNFIT: &str = "does not fit into a URL: percent-encode it, or shorten it";

/// A host, on one port or on all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Whether requests for `url` are sent to it.
    pub fn takes(&self, url: &Uri) -> bool {
        let port = port_of(url);
        url.host().is_some_and(|name| name.eq_ignore_ascii_case(&self.name))
            && self.port.is_none_or(|own| own == port)
    }

    /// Whether it is a single port of a host.
    pub fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// The name or the address, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, if it is a single one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// A port of the host with this name or address.
    pub fn named(&self, name: &str, port: u16) -> Host {
        let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
        Host { name, port: Some(port) }
    }

    /// Whether it stands for each host that the plan does not name.
    pub fn is_any(&self) -> bool {
        self.name == "*"
    }

    /// Whether it may be the host of `url` under another name. Addresses have no other names.
    pub fn may_take(&self, url: &Uri) -> bool {
        let both_addresses = is_address(&self.name) && has_address(url);
        !both_addresses && self.port.is_none_or(|own| own == port_of(url))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Whether the host of a URL is an address, not a name.
pub(super) fn has_address(url: &Uri) -> bool {
    url.host().is_some_and(is_address)
}

fn is_address(name: &str) -> bool {
    name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

/// The port that requests for `url` are sent to.
pub fn port_of(url: &Uri) -> u16 {
    let default = if url.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    url.port_u16().unwrap_or(default)
}

/// The name of a `[host]` table.
pub(super) fn host(text: &str) -> Result<Host, String> {
    if text == "*" {
        return Ok(Host { name: text.to_owned(), port: None });
    }
    let wrong = |what| format!("the host {} {what}", quoted(text));
    let authority: Authority = text
        .parse()
        .map_err(|_| wrong("is none: write it as in base, \"127.0.0.1:8080\" or \"127.0.0.1\""))?;
    check_authority(&authority).map_err(wrong)?;
    Ok(Host { name: authority.host().to_ascii_lowercase(), port: authority.port_u16() })
}

/// The start of a job's URLs, without a slash at its end.
pub(super) fn base(text: &str) -> Result<String, String> {
    let check = || {
        check_origin(&text.parse().map_err(|_| NO_URL)?)?;
        if text.contains(['?', '#']) {
            return Err("has a query: put it into paths");
        }
        if text.is_ascii() { Ok(()) } else { Err(UNFIT) }
    };
    check().map_err(|what| format!("base {what}"))?;
    Ok(text.trim_end_matches('/').to_owned())
}

/// The URL of one of a job's paths.
pub(super) fn path(base: &str, path: &str) -> Result<Uri, String> {
    below(base, path).map_err(|what| format!("the path {} {what}", quoted(path)))
}

/// The URL in a line of a list, or what is wrong with it.
pub fn listed(base: Option<&str>, line: &str) -> Result<Uri, &'static str> {
    match base {
        Some(base) => below(base, line.strip_prefix(base).unwrap_or(line)),
        None if line.contains('#') => Err(FRAGMENT),
        None => {
            let url = line.parse().map_err(|_| NO_URL)?;
            check_origin(&url)?;
            if line.is_ascii() { Ok(url) } else { Err(UNFIT) }
        }
    }
}

/// The URL of a path behind a base.
fn below(base: &str, path: &str) -> Result<Uri, &'static str> {
    if !path.starts_with('/') {
        Err("has no slash at its start: write it like \"/search?q=a\"")
    } else if path.contains('#') {
        Err(FRAGMENT)
    } else if !path.is_ascii() {
        Err(UNFIT)
    } else {
        format!("{base}{path}").parse().map_err(|_| UNFIT)
    }
}

/// Checks that a URL says how and where to connect.
fn check_origin(url: &Uri) -> Result<(), &'static str> {
    match (url.scheme(), url.authority()) {
        (Some(scheme), Some(authority)) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => {
            check_authority(authority)
        }
        _ => Err(NO_URL),
    }
}

fn check_authority(authority: &Authority) -> Result<(), &'static str> {
    if authority.as_str().contains('@') {
        return Err(USER);
    }
    let port = authority.as_str().strip_prefix(authority.host());
    if authority.host().is_empty() {
        Err(NO_URL)
    } else if port != Some("") && authority.port_u16().is_none_or(|port| port == 0) {
        Err(NO_PORT)
    } else {
        Ok(())
    }
}
