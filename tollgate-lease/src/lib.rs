//! The client's half of a lease: when to renew it, when it is lost, and what to give back.
//!
//! `tollgate-redis` and `tollgate-nats` share this crate. It is a part of them: its API may change with any version.
//!
//! ```
//! use tollgate_lease::Book;
//!
//! let mut book = Book::new(30); // a lease lasts 30
//! assert!(book.granted("a", 0, 1)); // requested at 0, answered at 1
//! assert_eq!(book.due(10).renew, ["a"]); // after a third
//! book.renewed("a", 10, 12);
//! assert!(!book.is_lost("a", 29));
//! assert!(book.is_lost("a", 30)); // two thirds after the last renewal was sent
//! ```

mod book;
mod clock;
mod random;

pub use book::{Book, Due, Micros};
pub use clock::{BootClock, Clock};
pub use random::random;
