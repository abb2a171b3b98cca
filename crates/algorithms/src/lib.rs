//! Built-in processes.
