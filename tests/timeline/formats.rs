//! The two formats: the trace as `protoc` reads it, and the page as a browser does.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{LONG, pool, within};
use crate::decoder::Trace;
use crate::{check, two_in_turn};
use tollgate::Pool;

/// Returns the pool's trace.
fn trace(pool: &Pool) -> Vec<u8> {
    pool.timeline().start();
    two_in_turn(pool);
    let mut file = Vec::new();
    pool.timeline().write(&mut file).unwrap();
    file
}

/// Says on the standard error that a test has not done its work. `eprintln` would not do: the output of a test that passes is hidden.
fn say(what: &str) {
    std::io::stderr().write_all(format!("{what}\n").as_bytes()).unwrap();
}

/// A field whose number or type `trace.proto` does not have is printed by its number. Needs `protoc`, which `ci/observe` installs.
/// Passes without it, unless `TOLLGATE_TOOLS` says that it must be there.
#[test]
fn protoc_knows_each_field_of_the_trace() {
    within(LONG, || {
        let file = trace(&pool(2));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/timeline");
        let protoc = Command::new("protoc")
            .arg(format!("--proto_path={}", folder.display()))
            .args(["--decode=perfetto.protos.Trace", "trace.proto"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut protoc = match protoc {
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && std::env::var_os("TOLLGATE_TOOLS").is_none() =>
            {
                return say(
                    "there is no protoc, so the trace is not read by it: ci/observe installs it",
                );
            }
            protoc => protoc.unwrap(),
        };
        protoc.stdin.take().unwrap().write_all(&file).unwrap();
        let output = protoc.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        for part in [
            "timestamp: ",
            "type: TYPE_SLICE_BEGIN",
            "type: TYPE_COUNTER",
            "unit: UNIT_COUNT",
            "name: \"job \\\"search\\\"\"",
            "name: \"running\"",
            "string_value: \"ended\"",
            "flow_ids: 1",
            "terminating_flow_ids: 1",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        let unknown = |line: &&str| line.trim_start().starts_with(|c: char| c.is_ascii_digit());
        assert_eq!(said.lines().find(unknown), None);
    });
}

/// Runs a small crawl under two limits, and returns its page.
fn page() -> Vec<u8> {
    let pool = pool(4);
    pool.timeline().start();
    let host = pool.job_builder().name("host").limit(3).build();
    let search = host.job_builder().name("search </script> \"quoted\"").limit(2).build();
    let pages = host.job_builder().name("pages").limit(3).build();
    for i in 0..12 {
        // A picture with something to see.
        search.execute(move || std::thread::sleep(Duration::from_millis(2 + i % 3)));
        pages.execute(move || std::thread::sleep(Duration::from_millis(1 + i % 2)));
    }
    std::thread::sleep(Duration::from_millis(8));
    search.set_limit(1);
    host.wait();
    let mut page = Vec::new();
    pool.timeline().write_html(&mut page).unwrap();
    page
}

#[test]
fn the_page_has_no_link_and_no_name_ends_its_script() {
    within(LONG, || {
        let page = String::from_utf8(page()).unwrap();
        assert_eq!(page.matches("</script>").count(), 1);
        assert_eq!(page.matches("<script>").count(), 1);
        assert!(page.contains("search \\u003c/script\\u003e \\\\\\\"quoted"), "the name is there");
        for outside in ["http:", "https:", "src=", "href=", "import ", "fetch("] {
            assert!(!page.contains(outside), "{outside}");
        }
    });
}

/// Opens the page in headless Chromium, and returns what Chromium prints.
fn chromium(page: &Path, arguments: &[&str], hash: &str) -> std::io::Result<String> {
    let profile = std::env::temp_dir().join(format!("tollgate-chromium-{}", std::process::id()));
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        .args(["--hide-scrollbars", "--window-size=1200,1000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .arg(format!("file://{}{hash}", page.display()))
        .output()?;
    let _ = fs::remove_dir_all(profile);
    assert!(output.status.success(), "{output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Needs `chromium`. Passes without it, unless `TOLLGATE_TOOLS` says that it must be there. `TOLLGATE_PICTURES` is a folder that
/// keeps the pictures.
#[test]
fn chromium_draws_the_page() {
    let folder = std::env::var_os("TOLLGATE_PICTURES");
    let folder = folder.map_or_else(std::env::temp_dir, std::path::PathBuf::from);
    let file = folder.join(format!("tollgate-timeline-{}.html", std::process::id()));
    fs::write(&file, within(LONG, page)).unwrap();
    let dom = match chromium(&file, &["--dump-dom"], "#task=20") {
        Err(error)
            if error.kind() == ErrorKind::NotFound
                && std::env::var_os("TOLLGATE_TOOLS").is_none() =>
        {
            return say(
                "there is no chromium, so the page is not drawn: `ci/observe pictures` installs it",
            );
        }
        dom => dom.unwrap(),
    };
    // 24 tasks, each queued and then running.
    let drawn = dom.split("data-drawn=\"").nth(1).expect("the script has run").split('"').next();
    assert_eq!(drawn, Some("48"), "{dom}");
    assert!(dom.contains("3 jobs, 24 tasks, 4 workers"), "{dom}");
    let why = dom.split("<div id=\"why\"").nth(1).expect("the script shows why");
    assert!(why.contains("task 20 of job") && why.contains("why: "), "{why}");
    let picture = |name: &str, more: &str, hash: &str| {
        let file_of = folder.join(format!("tollgate-timeline-{name}.png"));
        chromium(&file, &[&format!("--screenshot={}", file_of.display()), more], hash).unwrap();
        fs::read(file_of).unwrap()
    };
    let light = picture("light", "--force-device-scale-factor=1", "#task=20");
    let dark = picture("dark", "--blink-settings=preferredColorScheme=0", "");
    let near = picture("near", "--force-device-scale-factor=1", "#from=0,to=3000000,task=3");
    for picture in [&light, &dark, &near] {
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 15_000, "{}", picture.len());
    }
    assert!(light != dark && light != near);
    fs::remove_file(file).unwrap();
}

/// The sample that `docs/observing.md` describes, as `examples/timeline.rs` has written it once.
#[test]
fn the_sample_shows_what_the_document_says() {
    let trace = Trace::read(include_bytes!("sample.trace"));
    check(&trace);
    let (host, search) = ("job \"host\"", "job \"search\"");
    assert_eq!((trace.parent(search), trace.parent("job \"pages\"")), (host, host));
    assert_eq!((trace.most(host, "limit"), trace.each(search, "limit")), (3, vec![2, 1]));
    assert_eq!((trace.most(host, "running"), trace.last(search, "running")), (3, 0));
    for job in [search, "job \"pages\""] {
        let slices = trace.of(job);
        let count = |name| slices.iter().filter(|slice| slice.name == name).count();
        assert_eq!((count("queued"), count("running"), slices.len()), (12, 12, 24));
    }
    let flows = trace.slices.iter().map(|slice| slice.flows.len()).sum::<usize>();
    assert!(flows > 10, "{flows}");
    let why = "ran 3 of at most 3, until task";
    assert!(trace.of(search).iter().any(|slice| slice.says("why").contains(why)), "{trace:#?}");
}

#[test]
fn a_writer_that_fails_is_told() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    within(LONG, || {
        let pool = pool(1);
        assert_eq!(pool.timeline().write(Full).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(pool.timeline().write_html(Full).unwrap_err().kind(), ErrorKind::StorageFull);
    });
}
