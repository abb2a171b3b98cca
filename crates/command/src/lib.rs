//! Executables as processes.
