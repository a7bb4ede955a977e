//! The page of HTML in a browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{Scratch, gentle};

/// Runs Chromium on a page.
fn chromium(page: &Path, arguments: &[&str]) -> String {
    let profile = std::env::temp_dir().join(format!("gentle-chromium-{}", std::process::id()));
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap_or_else(|error| {
            panic!("chromium: {error}: run gentle/ci-peers, which installs it")
        });
    let _ = fs::remove_dir_all(profile);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where pictures go: GENTLE_PICTURES, or a folder for temporary files.
fn pictures() -> PathBuf {
    let folder = std::env::var_os("GENTLE_PICTURES");
    folder.map_or_else(std::env::temp_dir, PathBuf::from)
}

#[test]
fn chromium_shows_the_page_in_light_in_dark_and_on_paper() {
    let html = Scratch::file("page.html", "");
    let ended = gentle([Path::new("--quiet"), Path::new("--html"), html.path()]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let dom = chromium(html.path(), &["--dump-dom"]);
    // Two charts of all jobs, four of each of the five jobs, and four of the host.
    assert_eq!(dom.matches("<figure>").count(), 26, "{dom}");
    assert!(dom.contains("all as expected"), "{dom}");
    let picture = |name: &str, more: &str| {
        let file = pictures().join(format!("gentle-{name}.png"));
        let screenshot = format!("--screenshot={}", file.display());
        chromium(html.path(), &["--hide-scrollbars", "--window-size=1100,2400", &screenshot, more]);
        fs::read(file).unwrap()
    };
    let light = picture("light", "--force-device-scale-factor=1");
    let dark = picture("dark", "--blink-settings=preferredColorScheme=0");
    for picture in [&light, &dark] {
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 30_000, "{}", picture.len());
    }
    assert_ne!(light, dark);
    let paper = pictures().join("gentle-page.pdf");
    chromium(html.path(), &[&format!("--print-to-pdf={}", paper.display())]);
    let paper = fs::read(paper).unwrap();
    assert!(paper.starts_with(b"%PDF") && paper.len() > 20_000, "{}", paper.len());
}
