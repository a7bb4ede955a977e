//! Empty: the benches are targets of this package (see `README.md`).
