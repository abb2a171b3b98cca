//! The documents of WPS 1.0.0, WPS 2.0 and OGC API - Processes.
