//! TLS and HTTP/2: which certificates are trusted and shown, and which version is spoken.

use http::Version;

use crate::peers::{Authority, Speaks, serve, stranger};
use crate::program::{Ended, check, job, plan_job};

const BOTH: &[&str] = &["h2", "http/1.1"];

fn failure(ended: &Ended) -> String {
    format!("{}{}", ended.stdout, ended.stderr)
}

#[test]
fn a_private_authority_is_trusted_if_the_plan_names_it() {
    let authority = Authority::new();
    let speaks = Speaks { tls: Some(&authority), asks_for_certificate: false, protocols: BOTH };
    let (address, visits) = serve(&speaks);
    let base = format!("https://localhost:{}", address.port());
    let trusts = format!("cacert = \"{}\"", authority.file.path().display());
    let (ended, results) = check(&plan_job("a", 2, &base, 10, &trusts));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(job(&results, "a")["statuses"]["200"], 10);
    assert_eq!(visits.versions().len(), 10);
}

#[test]
fn a_certificate_of_another_authority_is_refused_in_words() {
    let authority = Authority::new();
    let speaks = Speaks { tls: Some(&authority), asks_for_certificate: false, protocols: BOTH };
    let (address, visits) = serve(&speaks);
    let base = format!("https://localhost:{}", address.port());
    let other = stranger();
    let trusts = format!("cacert = \"{}\"", other.path().display());
    let (ended, _) = check(&plan_job("a", 1, &base, 1, &trusts));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(failure(&ended).contains("the server's certificate is not trusted"), "{ended:?}");
    assert!(visits.versions().is_empty());
    let (ended, _) = check(&plan_job("a", 1, &base, 1, "insecure = true"));
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn shows_the_certificate_that_the_plan_names() {
    let authority = Authority::new();
    let speaks = Speaks { tls: Some(&authority), asks_for_certificate: true, protocols: BOTH };
    let (address, visits) = serve(&speaks);
    let base = format!("https://127.0.0.1:{}", address.port());
    let trusts = format!("cacert = \"{}\"", authority.file.path().display());
    let (ended, _) = check(&plan_job("a", 1, &base, 1, &trusts));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(visits.versions().is_empty());
    let client = authority.identity("client");
    let shows = format!(
        "{trusts}\ncert = \"{}\"\nkey = \"{}\"",
        client.certificate.path().display(),
        client.key.path().display()
    );
    let (ended, _) = check(&plan_job("a", 2, &base, 8, &shows));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(visits.versions().len(), 8);
}

#[test]
fn speaks_the_version_that_the_plan_names() {
    let authority = Authority::new();
    let trusts = format!("cacert = \"{}\"", authority.file.path().display());
    let cases = [
        ("2", BOTH, Version::HTTP_2),
        ("any", BOTH, Version::HTTP_2),
        ("1.1", BOTH, Version::HTTP_11),
        ("any", &["http/1.1"], Version::HTTP_11),
    ];
    for (asked, protocols, spoken) in cases {
        let speaks = Speaks { tls: Some(&authority), asks_for_certificate: false, protocols };
        let (address, visits) = serve(&speaks);
        let base = format!("https://localhost:{}", address.port());
        let more = format!("{trusts}\nhttp = \"{asked}\"");
        let (ended, _) = check(&plan_job("a", 4, &base, 40, &more));
        assert_eq!(ended.status, Some(0), "{asked}: {ended:?}");
        assert_eq!(visits.versions(), vec![spoken; 40], "{asked} of {protocols:?}");
        if spoken == Version::HTTP_2 {
            assert_eq!(visits.connections(), 1, "one connection carries all requests of a job");
        }
    }
}

#[test]
fn speaks_http_2_without_tls_if_the_plan_says_so() {
    let (address, visits) =
        serve(&Speaks { tls: None, asks_for_certificate: false, protocols: &["h2"] });
    let base = format!("http://{address}");
    let (ended, _) = check(&plan_job("a", 3, &base, 30, "http = \"2\""));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(visits.versions(), vec![Version::HTTP_2; 30]);
}
