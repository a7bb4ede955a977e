//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::output::Wanted;
use crate::plan::is_name;

/// Checks HTTP endpoints, and hits each no harder than it can take.
///
/// A plan lists jobs. Each job sends requests to one base URL, never more at once than its limit, and checks the
/// status of every answer. All jobs run together; a server that is down, slow or broken fails its own checks and
/// holds up no other job. Without a plan, a built-in one runs against a built-in server.
#[derive(Debug, Parser)]
#[command(name = "gentle", version, after_help = AFTER_HELP, max_term_width = 110, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// The plan to run, a TOML file, or "-" for standard input; its lists of URLs are taken from its directory
    pub(crate) plan: Option<PathBuf>,

    /// Also write the results to FILE, as JSON; "-" is standard output, and the table goes to standard error
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Also write the results to FILE, as comma-separated values
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,

    /// Also write the results to FILE, as JUnit's XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,

    /// Also write the results to FILE, as one page of HTML with charts
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Also write each failure to FILE, a line of JSON each, as it happens
    #[arg(long, value_name = "FILE")]
    pub(crate) failures: Option<PathBuf>,

    /// Also write the latencies to FILE, as a log of HDR histograms, one for each job
    #[arg(long, value_name = "FILE")]
    pub(crate) hdr: Option<PathBuf>,

    /// Also write to FILE when senders had their permits, and what they waited for: a page if FILE ends in .html, else a trace
    #[cfg(feature = "timeline")]
    #[arg(long, value_name = "FILE")]
    pub(crate) timeline: Option<PathBuf>,

    /// Put VALUE where the plan has ${NAME}; names that are not set come from the environment
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,

    /// Read the plan, open every file, say what would be sent, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print the built-in plan, to start your own from
    #[arg(long)]
    pub(crate) print_plan: bool,

    /// Trust the certificates in FILE, as PEM, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Check no server's certificate
    #[arg(long)]
    pub(crate) insecure: bool,

    /// With a PLAN: let workers send its requests, by the NATS server at URL. Without: be such a worker
    #[cfg(feature = "fleet")]
    #[arg(long, value_name = "URL")]
    pub(crate) fleet: Option<String>,

    /// With --fleet and without a PLAN: send at most N requests at once to each host; left out: 16
    #[cfg(feature = "fleet")]
    #[arg(long, value_name = "N", requires = "fleet")]
    pub(crate) at_once: Option<std::num::NonZero<u16>>,

    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What else the command does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a plan to start from
    Init {
        /// The file to write, which must not exist; left out: standard output
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of plans, with which editors complete them
    Schema,
}

const AFTER_HELP: &str = r##"The plan:
  workers = 2                    threads that send; left out: one for each 32 requests at once, and no more
                                 than there are cores
  [[job]]
  name = "search"
  limit = 2                      at most 2 requests of this job at once
  base = "http://127.0.0.1:8080" or https
  paths = ["/search?q=a", "/"]   sent in turn
  repeat = 50                    each path this often; left out: once
  for = "30s"                    instead of repeat: send the paths again and again for so long
  ramp = [1, 2, 4]               instead of limit: step through these, evenly over the requests
  rate = "20/s"                  at most so many a second; burst = 5: so many at once after a pause
  backoff = true                 leave a server alone that refuses, or answers 429 or 503, for as long as
                                 it says, or for 0.5 s, 1 s, 2 s up to 30 s; false: do not
  urls = "FILE"                  instead of paths: a list, a URL a line, or a path behind base; read
                                 as it is sent, so of any length; "-" is standard input
  method = "GET"                 and, as needed:
  headers = { accept = "*/*" }
  body = "..."
  expect = 200                   or "2xx", or a list: [200, 404]
  body_contains = "soup"         what else must be in the answer; or body_matches = "so+up", a regular
                                 expression; json = { "/items/0/id" = 7 }, a value at a JSON pointer;
                                 header = { content-type = "json" }, a part of a header's value
  latency = "< 200ms"            slower answers fail
  thresholds = { p95 = "< 200ms", failed = "< 1%", rate = "> 50/s" }
                                 what the results must be; also p50, p90, p99, p999, max, mean. A bound
                                 of failed allows failures
  cookies = true                 send the cookies that answers set
  redirects = 5                  follow at most this many, 0 to 10; left out: none
  timeout = "5s"                 for a request, until the last byte of its answer: "250ms", "2m"
  after_timeout = "hold"         keep the permit of a request that timed out for as long again: the server
                                 may work on; or for "2s", or "release" it at once
  http = "1.1"                   or "2", also without TLS; left out: what the server prefers over TLS
  cacert = "FILE"                trust these certificates instead of the system's
  insecure = true                check no certificate
  cert = "FILE"                  show this certificate to the server, with
  key = "FILE"                   its private key

  [[job.stage]]                  instead of repeat: stages of a job, one after the other
  limit = 8                      and rate, burst
  for = "30s"

  [[job.step]]                   instead of paths: sessions, repeat times. The steps are sent in order, and take
  path = "/sign-in"              the keys of the job that they do not have
  method = "POST"
  capture = { token = { json = "/token" }, next = { header = "location" } }
  [[job.step]]                   a step that fails ends its session
  path = "${next}"
  headers = { authorization = "Bearer ${token}" }

  ${NAME} is a value of --set NAME=VALUE or of the environment, in base, paths, headers, body and what the
  body and the headers must have. Values are never printed or written. $${ is the text ${

  [defaults]                     keys for all jobs that do not have the key, and headers one by one
  timeout = "1.5s"

  [thresholds]                   over all jobs together
  failed = "< 1%"

  [host."127.0.0.1:8080"]        or "127.0.0.1", for all its ports
  limit = 6                      at most 6 requests to this host at once, of all jobs together; or
  rate = "20/s"                  at most so many a second; both are for the whole plan, too
  [host."*"]                     each host that is not named
  limit = 2
  by = "address"                 names of one address are one host; or "name"

Many machines (only if gentle was built with --features fleet):
  gentle --fleet nats://HOST     a worker: sends for the coordinators at this NATS server until a signal comes
  gentle --fleet nats://HOST my.toml    the coordinator: lets the workers send the plan's requests, and reports

A signal (Ctrl-C, SIGTERM, SIGHUP) stops sending, waits for the requests in flight and prints the results so far; a second one ends at once.
A run that is started by nohup ignores SIGHUP.

Exit status:
  0    each check passed, or a bound of failed allows the checks that failed
  1    a check failed that no bound allows, a threshold or a limit was not held, not all of the plan was sent, this machine ran
       short of something, or a file was not written
  2    the plan or an option is wrong; one line on standard error says where and what to change
  130  interrupted by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP

Try:
  gentle                         run the built-in plan
  gentle init my.toml            start a plan of your own
  gentle my.toml --json out.json --html out.html
  TOKEN=... gentle my.toml --set BASE=http://127.0.0.1:8080    where my.toml has ${BASE} and ${TOKEN}
  grep -h http *.txt | gentle my.toml    where my.toml has a job with urls = "-""##;

impl Options {
    /// The files to write.
    pub(crate) fn outputs(&self) -> Vec<Wanted> {
        let options = [
            ("--json", &self.json),
            ("--csv", &self.csv),
            ("--junit", &self.junit),
            ("--html", &self.html),
            ("--failures", &self.failures),
            ("--hdr", &self.hdr),
            #[cfg(feature = "timeline")]
            ("--timeline", &self.timeline),
        ];
        let wanted = |(option, path): (_, &Option<PathBuf>)| {
            path.clone().map(|path| Wanted { option, path })
        };
        options.into_iter().filter_map(wanted).collect()
    }

    /// Returns true if `--fleet` is given.
    #[cfg_attr(
        not(feature = "fleet"),
        allow(clippy::unused_self, reason = "there is no such option")
    )]
    pub(crate) fn is_for_fleet(&self) -> bool {
        #[cfg(feature = "fleet")]
        return self.fleet.is_some();
        #[cfg(not(feature = "fleet"))]
        false
    }

    /// What `--set` says. An error shows no value.
    pub(crate) fn values(&self) -> Result<BTreeMap<String, String>, String> {
        let mut values = BTreeMap::new();
        for set in &self.set {
            let value = set.split_once('=').filter(|(name, _)| is_name(name));
            let Some((name, value)) = value else {
                return Err("--set has no name: write it like --set NAME=VALUE".to_owned());
            };
            if values.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(format!("--set {name} is here twice: keep one"));
            }
        }
        Ok(values)
    }

    /// Reads the command line, or says in one line what is wrong with it. Ends the process where it asks for help.
    pub(crate) fn read() -> Result<Self, String> {
        Options::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
            _ => {
                let whole = error.to_string();
                let text = first_paragraph(&whole);
                let similar = |line: &str| {
                    let (_, option) = line.split_once("tip: a similar argument exists: ")?;
                    Some(format!("{text}: did you mean {option}?"))
                };
                if let Some(text) = whole.lines().find_map(similar) {
                    return text;
                }
                let second = text.strip_prefix("the subcommand ");
                let second =
                    second.and_then(|rest| rest.split_once(" cannot be used with '[PLAN]'"));
                match second {
                    Some((second, _)) => {
                        format!("unexpected argument {second} found (see gentle --help)")
                    }
                    None => format!("{text} (see gentle --help)"),
                }
            }
        })
    }
}

/// The text up to the first empty line, on one line and without the word that clap starts with.
fn first_paragraph(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let paragraph = lines.collect::<Vec<_>>().join(" ");
    paragraph.trim_start_matches("error: ").to_owned()
}
