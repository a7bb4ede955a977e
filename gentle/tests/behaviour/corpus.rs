//! Each plan that the fuzzer kept, read once more: `fuzz/corpus/plan`, a file an input.

use std::fs;
use std::path::Path;

use crate::any_plan;

#[test]
fn the_corpus_of_plan() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/plan");
    let files = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}: check it out", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}: no corpus: check it out", folder.display());
    for file in files {
        eprintln!("{}", file.display());
        any_plan::read(&fs::read(&file).unwrap());
    }
}
