//! Models of tollgate's protocols under loom.
