//! What a terminal shows while a run lasts.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;

use unicode_width::UnicodeWidthStr;

use crate::program::{Scratch, command, end, plan_job};
use crate::servers::{Latch, OK, Server};

/// The two ends of a terminal of 60 columns and 24 rows.
fn terminal() -> (File, OwnedFd) {
    let (mut own, mut its) = (0, 0);
    let size = libc::winsize { ws_row: 24, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 };
    let (name, settings) = (std::ptr::null_mut(), std::ptr::null());
    // SAFETY: the integers and the size outlive the call. `openpty` accepts null for the name and the settings.
    let made =
        unsafe { libc::openpty(&raw mut own, &raw mut its, name, settings, &raw const size) };
    assert_eq!(made, 0);
    // SAFETY: the call has opened both descriptors, and nothing else owns them.
    unsafe { (File::from_raw_fd(own), OwnedFd::from_raw_fd(its)) }
}

/// Runs sixty jobs of which one waits until the screen was drawn, and gives all that the terminal got.
fn shown(variable: (&str, &str)) -> String {
    let drawn = Arc::new(Latch::default());
    let wait = Arc::clone(&drawn);
    let server = Server::start(move |seen| {
        if seen.path() == "/wait" {
            wait.wait();
        }
        let fails = seen.number % 7 == 3 && seen.path() != "/wait";
        OK.replace("200 OK", if fails { "500 No" } else { "200 OK" })
    });
    let job = |number| {
        plan_job(
            &format!("検索の要求を繰り返す長い名前の仕事の番号{number}"),
            2,
            &server.base(),
            5,
            "timeout = \"60s\"",
        )
    };
    let waits =
        plan_job("waits", 1, &server.base(), 1, "timeout = \"60s\"").replace("\"/\"", "\"/wait\"");
    let plan = (0..59).map(job).collect::<String>() + &waits;
    let plan = Scratch::file("plan.toml", &plan);
    let (mut own, its) = terminal();
    let mut command = command();
    command
        .arg(plan.path())
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .env(variable.0, variable.1);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(its);
    let child = command.spawn().unwrap();
    drop(command);
    let (mut text, mut buffer) = (String::new(), [0; 4_096]);
    // The other end is closed when the run is over, which Linux tells by an error.
    while let Ok(read @ 1..) = own.read(&mut buffer) {
        text += &String::from_utf8_lossy(&buffer[..read]);
        if text.contains(" failed\r\n") || text.contains(" failed\x1b[0m\r\n") {
            drawn.open();
        }
    }
    assert_eq!(end(child).status, Some(1));
    text
}

/// What is left on the line without what sets colours.
fn plain(line: &str) -> String {
    line.replace("\x1b[31m", "").replace("\x1b[0m", "")
}

#[test]
fn the_screen_fits_sixty_columns_and_twenty_four_rows() {
    let text = shown(("GENTLE_TEST", "1"));
    let screens: Vec<_> = text.split("\r\x1b[J").skip(1).collect();
    assert!(screens.len() > 1, "{text:?}");
    for screen in &screens {
        let lines: Vec<_> = screen.split("\r\n").map(plain).collect();
        let (moved, lines) = lines.split_last().unwrap();
        assert!(lines.len() < 24, "{screen:?}");
        assert!(lines.iter().all(|line| line.width() <= 60), "{screen:?}");
        assert!(lines[lines.len() - 2].ends_with("more jobs"), "{screen:?}");
        let total = &lines[lines.len() - 1];
        assert!(total.contains(" req/s, p95 ") && total.ends_with(" failed"), "{screen:?}");
        // The next screen is drawn over this one.
        assert!(moved.is_empty() || *moved == format!("\x1b[{}A", lines.len()), "{screen:?}");
    }
    assert!(text.contains("\x1b[31m"), "failures are red: {text:?}");
}

#[test]
fn no_colour_is_shown_if_the_environment_says_so() {
    let text = shown(("NO_COLOR", "1"));
    assert!(text.contains("\x1b[J") && !text.contains("\x1b[31m"), "{text:?}");
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let text = shown(("TERM", "dumb"));
    assert!(text.contains("waits: 1 of 1 done, 0/1 running, 0 failed\r\n"), "{text:?}");
    assert!(!text.contains('\x1b'), "{text:?}");
}
