//! The script that measures gentle's speed: what it runs, in which order, and what it makes of the figures.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/run");

/// What the contenders answer in each of five rounds. The median of gentle's shares of oha is 1.1; the medians themselves give 1.5.
const GENTLE: &str = "90 220 150 100 480";
const OHA: &str = "100 200 50 100 400";

/// A folder that is removed with this value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes a program that says in `log` that it runs, and then prints what `printf` makes of the next of the counts.
fn stand_in(folder: &Path, name: &str, counts: &str, printf: &str) {
    let program = format!(
        "#!/bin/sh\ncd {}\necho {name} >>log\nset -- \"$@\" -- {counts}\n\
         while [ \"$1\" != -- ]; do file=$1; shift; [ \"$file\" = --json ] && json=$1; done\n\
         shift $(grep -cx {name} log)\nprintf '{printf}' \"$1\" >\"${{json:-/dev/stdout}}\"\n",
        folder.display()
    );
    let path = folder.join(name);
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_script_gives_shares_of_each_round_and_begins_each_round_with_the_next_contender() {
    let name = format!("gentle-bench-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(name));
    fs::create_dir_all(&folder.0).unwrap();
    stand_in(&folder.0, "gentle", GENTLE, "  \"requests\": %s,\\n");
    stand_in(&folder.0, "oha", OHA, "\"statusCodeDistribution\": {\\n \"200\": %s\\n }\\n");
    stand_in(&folder.0, "wrk", OHA, "  %s requests in 1.00s\\n");
    stand_in(&folder.0, "hey", OHA, "  [200]\\t%s responses\\n");
    let path = format!("{}:{}", folder.0.display(), std::env::var("PATH").unwrap());
    let mut script = Command::new(SCRIPT);
    script.args(["1", "16:5"]).env("PATH", path).env("GENTLE", folder.0.join("gentle"));
    let output = script.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    let row = |name: &str| {
        let is_row = |line: &&str| line.split_whitespace().nth(2) == Some(name);
        table.lines().find(is_row).unwrap_or_else(|| panic!("{name} in {table}"))
    };
    // The rounds give 0.9, 1.1, 3, 1 and 1.2.
    let words: Vec<_> = row("gentle").split_whitespace().collect();
    assert_eq!(words[..4], ["16", "5", "gentle", "150"], "{table}");
    assert!(row("gentle").contains("  1.10 (1.00 to 1.20)  "), "{table}");
    assert!(row("wrk").contains("  1.00 (1.00 to 1.00)  "), "{table}");
    assert!(row("oha").ends_with('-') && table.starts_with("each share is of oha's"), "{table}");
    let log = fs::read_to_string(folder.0.join("log")).unwrap();
    let order: Vec<_> = log.lines().collect();
    let contenders = ["gentle", "oha", "wrk", "hey"];
    let due = (0..5).flat_map(|round| (0..4).map(move |place| contenders[(round + place) % 4]));
    assert_eq!(order, due.collect::<Vec<_>>());
}

#[test]
fn the_script_refuses_what_is_no_number_of_rounds() {
    for arguments in [&["0"][..], &["1", "16"], &["1", "16:0"], &["1", "16:5", "x"]] {
        let output = Command::new(SCRIPT).args(arguments).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{output:?}");
    }
}
