//! Where a redirect leads, and what is sent there.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION};
use http::{Method, StatusCode, Uri};
use hyper::body::Bytes;

use crate::client::{Answer, Template};
use crate::plan::listed;

/// A redirect that can be followed.
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) target: Uri,
    /// Whether the request becomes a GET without a body.
    as_get: bool,
}

impl Redirect {
    /// The redirect that an answer is, if it is one.
    pub(crate) fn of(answer: &Answer, method: &Method, from: &Uri) -> Option<Self> {
        let as_get = match answer.status {
            StatusCode::SEE_OTHER => *method != Method::GET && *method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
            _ => return None,
        };
        let location = answer.headers.get(LOCATION)?.to_str().ok()?;
        Some(Redirect { target: resolve(from, location)?, as_get })
    }

    /// What is sent to the target. Secrets are not sent to another server.
    pub(crate) fn template(&self, template: &Template, from: &Uri) -> Template {
        let mut template = template.clone();
        if self.as_get {
            template.method = Method::GET;
            template.body = Bytes::new();
            template.headers_mut().remove(CONTENT_TYPE);
            template.headers_mut().remove(CONTENT_LENGTH);
        }
        if (from.scheme(), from.authority()) != (self.target.scheme(), self.target.authority()) {
            template.headers_mut().remove(AUTHORIZATION);
            template.headers_mut().remove(COOKIE);
        }
        template
    }
}

/// The URL that a reference in an answer from `base` means.
fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let colon = reference.find(':').filter(|colon| !reference[..*colon].contains(['/', '?']));
    let whole = if colon.is_some() {
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else {
        let path = base.path();
        let folder = &path[..=path.rfind('/').unwrap_or(0)];
        let (reference_path, query) = match reference.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (reference, String::new()),
        };
        let path = match reference_path {
            "" => path.to_owned(),
            absolute if absolute.starts_with('/') => without_dots(absolute),
            relative => without_dots(&format!("{folder}{relative}")),
        };
        format!("{scheme}://{authority}{path}{query}")
    };
    listed(None, &whole).ok()
}

/// The path without `.` and `..`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_references_as_rfc_3986_says() {
        let base: Uri = "http://a/b/c/d?q".parse().unwrap();
        let resolved = |reference| resolve(&base, reference).map(|url| url.to_string());
        for (reference, due) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g/x", "http://g/x"),
            ("?y", "http://a/b/c/d?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g#s", "http://a/b/c/g"),
            ("", "http://a/b/c/d"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("https://b:1/x#y", "https://b:1/x"),
        ] {
            assert_eq!(resolved(reference).as_deref(), Some(due), "{reference}");
        }
        for reference in ["mailto:a@b", "ftp://a/", "http://u@a/"] {
            assert_eq!(resolved(reference), None, "{reference}");
        }
    }
}
