//! Replays the fuzzer's corpus of a target as a test: each file in `fuzz/corpus/TARGET` is one input.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// Calls `run` with each file of the target's corpus, in the order of their names. Says which file failed.
///
/// # Panics
/// Panics if a file fails, or if the corpus is empty.
pub fn replay(target: &str, run: impl Fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A package made by cargo has this file, and no corpus.
    if root.join(".cargo_vcs_info.json").exists() {
        return;
    }
    let folder = root.join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}: check it out", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.expect("the folder is read").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}: no corpus: check it out", folder.display());
    for file in files {
        let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| run(&bytes))) {
            eprintln!("{} fails", file.display());
            resume_unwind(payload);
        }
    }
}
