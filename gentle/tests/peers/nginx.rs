//! gentle against nginx: its limits, and what its access log says of the run.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::ports::silent;
use crate::program::{Scratch, check, command, job, plan_job};
use crate::tls::Authority;

/// An nginx of one process, which ends with this value.
struct Nginx {
    child: Child,
    folder: PathBuf,
    port: u16,
    /// Keeps the port from others while nginx does not listen.
    _reserved: TcpListener,
}

/// A line of the access log, in milliseconds.
#[derive(Clone, Debug)]
struct Logged {
    began: i64,
    ended: i64,
    status: u16,
    protocol: String,
    method: String,
    length: String,
}

impl Nginx {
    /// Starts nginx with what is in its `http` block, where PORT stands for a free port and FOLDER for its folder.
    fn start(http: &str) -> Self {
        Self::start_with(http, |_| {})
    }

    fn start_with(http: &str, prepare: impl Fn(&PathBuf)) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        // Another program may have the port of IPv6.
        for _ in 0..10 {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let name = format!("gentle-nginx-{}-{number}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            prepare(&folder);
            let reserved = silent(0);
            let port = reserved.local_addr().unwrap().port();
            let at = folder.display().to_string();
            let http = http.replace("PORT", &port.to_string()).replace("FOLDER", &at);
            let temporaries = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
                .concat();
            let configuration = format!(
                "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
                 events {{ worker_connections 256; }}\n\
                 http {{ {temporaries} \
                 log_format times '$msec $request_time $status $server_protocol $request_method $http_content_length';\n\
                 access_log {at}/access.log times;\n{http} }}\n"
            );
            fs::write(folder.join("nginx.conf"), configuration).unwrap();
            if let Some(child) = Self::launch(&folder, port) {
                return Nginx { child, folder, port, _reserved: reserved };
            }
            let log = fs::read_to_string(folder.join("error.log")).unwrap_or_default();
            assert!(log.contains("Address already in use"), "{log}");
            let _ = fs::remove_dir_all(folder);
        }
        panic!("no free port");
    }

    /// Starts nginx with the configuration in `folder`. Returns `None` if nginx ends before it listens.
    fn launch(folder: &Path, port: u16) -> Option<Child> {
        let mut child = Command::new("nginx")
            .arg("-p")
            .arg(folder)
            .args(["-c", "nginx.conf"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx: {error}: run ci/peers, which installs it"));
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            sleep(Duration::from_millis(10));
        }
        Some(child)
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = Self::launch(&self.folder, self.port).unwrap();
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What the access log has. nginx writes a line before it reads the next request of the connection, and may be about to write
    /// the last ones.
    fn logged(&self, requests: usize) -> Vec<Logged> {
        loop {
            let log = fs::read_to_string(self.folder.join("access.log")).unwrap();
            let lines: Vec<_> = log.lines().map(Logged::read).collect();
            if log.ends_with('\n') && lines.len() >= requests {
                return lines;
            }
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Logged {
    fn read(line: &str) -> Self {
        let parts: Vec<_> = line.split(' ').collect();
        let ms = |text: &str| (text.parse::<f64>().unwrap() * 1_000.0).round() as i64;
        let (ended, took) = (ms(parts[0]), ms(parts[1]));
        Logged {
            began: ended - took,
            ended,
            status: parts[2].parse().unwrap(),
            protocol: parts[3].to_owned(),
            method: parts[4].to_owned(),
            length: parts[5].to_owned(),
        }
    }
}

/// The most requests that nginx had at once. Its times are rounded, so each request counts as shorter by two milliseconds at each end.
fn most_at_once(lines: &[Logged]) -> usize {
    let mut events: Vec<_> = lines
        .iter()
        .filter(|line| line.ended - line.began > 4)
        .flat_map(|line| [(line.began + 2, 1), (line.ended - 2, -1)])
        .collect();
    events.sort();
    let inside = events.into_iter().scan(0, |inside, (_, change)| {
        *inside += change;
        Some(*inside)
    });
    inside.max().unwrap_or(0) as usize
}

fn statuses(results: &Value, name: &str, status: &str) -> u64 {
    job(results, name)["statuses"][status].as_u64().unwrap_or(0)
}

/// A server whose answers take about a second, as nginx spreads what is above its rate, and which takes four at once.
const FOUR_AT_ONCE: &str = "limit_conn_zone $server_name zone=all:1m; limit_conn_status 503;\n\
    server { listen 127.0.0.1:PORT; server_name all; root FOLDER; location / { limit_conn all 4; limit_rate 20k; } }";

fn four_at_once() -> Nginx {
    Nginx::start_with(FOUR_AT_ONCE, |folder| {
        fs::write(folder.join("slow"), vec![b'x'; 22_500]).unwrap();
    })
}

#[test]
fn a_limit_is_never_more_than_nginx_takes_at_once() {
    let nginx = four_at_once();
    let two_jobs = |limit: usize| {
        let one = plan_job("a", limit, &nginx.base(), 8, "backoff = false");
        let other = plan_job("b", limit, &nginx.base(), 8, "backoff = false");
        (one + &other).replace("[\"/\"]", "[\"/slow\"]")
    };
    let host = "[host.\"127.0.0.1\"]\nlimit = 4\n";
    let (ended, results) = check(&(two_jobs(4) + host));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let lines = nginx.logged(16);
    let counted = results["hosts"][0]["most_in_flight"].as_u64().unwrap() as usize;
    assert_eq!((lines.len(), counted), (16, 4));
    assert!((2..=counted).contains(&most_at_once(&lines)), "{lines:?}");
    assert!(lines.iter().all(|line| line.status == 200));
    // The host's limit is what held: without it nginx refuses.
    let (ended, results) = check(&two_jobs(4));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(statuses(&results, "a", "503") + statuses(&results, "b", "503") > 0, "{results}");
}

#[test]
fn a_rate_is_never_more_than_nginx_takes_in_a_time() {
    // A request may be late on its way, so that two come at once; the limit lets no more come at once.
    let http = "limit_req_zone $server_name zone=all:1m rate=50r/s; limit_req_status 503;\n\
                server { listen 127.0.0.1:PORT; server_name all; location / { limit_req zone=all burst=4 nodelay; root FOLDER; } }";
    let nginx = Nginx::start_with(http, |folder| fs::write(folder.join("a"), "ok").unwrap());
    let plan =
        |more: &str| plan_job("a", 2, &nginx.base(), 100, more).replace("[\"/\"]", "[\"/a\"]");
    let (ended, results) = check(&plan("rate = \"45/s\"\nburst = 1"));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let lines = nginx.logged(100);
    let (first, last) =
        (lines.iter().map(|line| line.began).min(), lines.iter().map(|line| line.ended).max());
    let seconds = (last.unwrap() - first.unwrap()) as f64 / 1_000.0;
    let reported = job(&results, "a")["elapsed_seconds"].as_f64().unwrap();
    // What nginx sees of the run lies within what the client sees. The log has whole milliseconds.
    assert!(seconds <= reported + 0.01, "{seconds} s in the log, {reported} s in the report");
    let rate = job(&results, "a")["requests_per_second"].as_f64().unwrap();
    assert!(rate <= 100.0 / seconds + 0.5 && rate < 47.0, "{rate}/s in the report, {seconds} s");
    // 100 requests at 45 a second need 99 intervals.
    assert!(seconds > 99.0 / 45.0 - 0.1, "{seconds}");
    let windows = lines.windows(51).map(|window| window[50].ended - window[0].ended);
    assert!(windows.min().unwrap() > 1_000, "more than 50 in a second");
    let (ended, results) = check(&plan("backoff = false"));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(statuses(&results, "a", "503") > 0, "{results}");
}

#[test]
fn a_restart_of_nginx_in_the_midst_of_requests_costs_tens_of_failures() {
    const MANY: usize = 2_000;
    let http = "server { listen 127.0.0.1:PORT; location / { return 200 ok; } }";
    let mut nginx = Nginx::start(http);
    let plan = plan_job("a", 16, &nginx.base(), 1, "")
        .replace("paths = [\"/\"]\nrepeat = 1", "urls = \"-\"");
    let (plan, json) = (Scratch::file("plan.toml", &plan), Scratch::file("results.json", ""));
    let mut command = command();
    command.arg(plan.path()).args(["--quiet", "--failures", "-", "--json"]).arg(json.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut failures = BufReader::new(child.stdout.take().unwrap()).lines();
    let urls = "/\n".repeat(MANY);
    stdin.write_all(urls.as_bytes()).unwrap();
    nginx.logged(MANY / 4);
    nginx.kill();
    // Some of these are sent while nginx is down.
    stdin.write_all(urls.as_bytes()).unwrap();
    failures.next().unwrap().unwrap();
    nginx.start_again();
    drop(stdin);
    let failed = 1 + failures.map(Result::unwrap).count();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    // The requests that were on their way, and one for each time without requests that was too short.
    assert!(failed < 60, "{failed} failed");
    let results: Value = serde_json::from_str(&fs::read_to_string(json.path()).unwrap()).unwrap();
    let found = job(&results, "a");
    assert_eq!((&found["requests"], &found["failed"]), (&(2 * MANY).into(), &failed.into()));
    assert_eq!(statuses(&results, "a", "200"), (2 * MANY - failed) as u64, "{results}");
}

#[test]
fn the_log_and_the_report_count_the_same() {
    let nginx = Nginx::start(
        "server { listen 127.0.0.1:PORT; location / { return 404; } location /a { return 204; } }",
    );
    let plan = plan_job("a", 3, &nginx.base(), 40, "expect = [204, 404]")
        .replace("[\"/\"]", "[\"/a\", \"/b\"]");
    let (ended, results) = check(&plan);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let lines = nginx.logged(80);
    let count = |status: u16| lines.iter().filter(|line| line.status == status).count() as u64;
    assert_eq!((count(204), count(404), lines.len()), (40, 40, 80));
    assert_eq!((statuses(&results, "a", "204"), statuses(&results, "a", "404")), (40, 40));
    assert_eq!(job(&results, "a")["most_in_flight"], 3);
}

#[test]
fn connections_that_nginx_closes_cost_no_request() {
    // nginx closes after each third request, and an idle connection after a moment.
    let http = "keepalive_requests 3; keepalive_timeout 20ms;\n\
                server { listen 127.0.0.1:PORT; location / { return 200 ok; } }";
    let nginx = Nginx::start(http);
    for more in ["", "rate = \"40/s\"\nburst = 1"] {
        let (ended, results) = check(&plan_job("a", 2, &nginx.base(), 60, more));
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert_eq!(statuses(&results, "a", "200"), 60, "{results}");
    }
}

#[test]
fn connections_of_http_2_that_nginx_closes_cost_no_request() {
    let authority = Authority::new();
    let identity = authority.identity("localhost");
    let http = "keepalive_requests 10; keepalive_timeout 20ms;\n\
                ssl_certificate FOLDER/cert.pem; ssl_certificate_key FOLDER/key.pem;\n\
                server { listen 127.0.0.1:PORT ssl http2; location / { return 200 ok; } }";
    let nginx = Nginx::start_with(http, |folder| {
        fs::copy(identity.certificate.path(), folder.join("cert.pem")).unwrap();
        fs::copy(identity.key.path(), folder.join("key.pem")).unwrap();
    });
    let base = format!("https://localhost:{}", nginx.port);
    let trusts = format!("cacert = \"{}\"", authority.file.path().display());
    for more in ["", "rate = \"40/s\"\nburst = 1"] {
        let (ended, results) = check(&plan_job("a", 3, &base, 90, &format!("{trusts}\n{more}")));
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert_eq!(statuses(&results, "a", "200"), 90, "{results}");
    }
}

#[test]
fn an_empty_body_says_its_length() {
    let nginx = Nginx::start("server { listen 127.0.0.1:PORT; location / { return 200 ok; } }");
    let methods = ["POST", "PUT", "PATCH", "GET", "DELETE"];
    for method in methods {
        let more = format!("method = \"{method}\"");
        let (ended, _) = check(&plan_job("a", 1, &nginx.base(), 1, &more));
        assert_eq!(ended.status, Some(0), "{ended:?}");
    }
    let lengths: Vec<_> =
        nginx.logged(5).into_iter().map(|line| (line.method, line.length)).collect();
    let due = methods.map(|method| {
        let length = if ["GET", "DELETE"].contains(&method) { "-" } else { "0" };
        (method.to_owned(), length.to_owned())
    });
    assert_eq!(lengths, due);
}

#[test]
fn nginx_is_reached_over_tls_http_2_and_ipv6() {
    let authority = Authority::new();
    let identity = authority.identity("localhost");
    let http = "ssl_certificate FOLDER/cert.pem; ssl_certificate_key FOLDER/key.pem;\n\
                server { listen 127.0.0.1:PORT ssl http2; listen [::1]:PORT ssl http2; location / { return 200 ok; } }";
    let nginx = Nginx::start_with(http, |folder| {
        fs::copy(identity.certificate.path(), folder.join("cert.pem")).unwrap();
        fs::copy(identity.key.path(), folder.join("key.pem")).unwrap();
    });
    let base = format!("https://localhost:{}", nginx.port);
    let trusts = format!("cacert = \"{}\"", authority.file.path().display());
    for (http, protocol) in [("2", "HTTP/2.0"), ("1.1", "HTTP/1.1"), ("any", "HTTP/2.0")] {
        let before = fs::read_to_string(nginx.folder.join("access.log")).unwrap().lines().count();
        let more = format!("{trusts}\nhttp = \"{http}\"");
        let (ended, results) = check(&plan_job("a", 4, &base, 40, &more));
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert_eq!(statuses(&results, "a", "200"), 40);
        let lines = nginx.logged(before + 40);
        assert!(lines[before..].iter().all(|line| line.protocol == protocol), "{http}: {lines:?}");
    }
    let plan = plan_job("a", 1, &format!("https://[::1]:{}", nginx.port), 3, "insecure = true");
    let (ended, _) = check(&plan);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let (ended, results) = check(&plan_job("a", 1, &base, 1, ""));
    assert_eq!(ended.status, Some(1), "the system does not trust the authority: {ended:?}");
    let cause = job(&results, "a")["failures"][0]["cause"].as_str().unwrap();
    assert!(cause.contains("not trusted"), "{cause}");
}
