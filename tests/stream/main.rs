//! Lazy input: it is pulled only as permits come free.

#[path = "../common/mod.rs"]
mod common;

mod ends;
mod fallible;
mod for_each;
mod map;
mod panics;
mod scoped;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use common::unwind;

/// Numbers that are counted as they are pulled, of an input that promises nothing by its size hint.
fn counted(range: Range<usize>) -> (Arc<AtomicUsize>, impl Iterator<Item = usize> + Send) {
    let pulled = Arc::new(AtomicUsize::new(0));
    let count = pulled.clone();
    let mut numbers = range.inspect(move |_| {
        count.fetch_add(1, SeqCst);
    });
    (pulled, std::iter::from_fn(move || numbers.next()))
}

/// Ten numbers, of an input that panics instead of giving the sixth.
fn broken() -> impl Iterator<Item = usize> + Send {
    (0..10).inspect(|&i| {
        if i == 5 {
            unwind("the input's")
        }
    })
}
