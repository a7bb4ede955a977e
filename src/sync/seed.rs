//! Seeded faults, for the arms that check: one at a time, by the environment.

/// Whether the named fault is seeded in this process, by `TOLLGATE_FAULT`.
pub fn fault(name: &str) -> bool {
    static SEEDED: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("TOLLGATE_FAULT").ok());
    SEEDED.as_deref() == Some(name)
}
