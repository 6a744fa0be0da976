//! Benchmarks of Syncline (never a dependency of a product crate).
