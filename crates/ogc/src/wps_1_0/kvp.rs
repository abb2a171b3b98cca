//! Key-value pairs (WPS 1.0.0 §8.2, §9.2, §10.2.2).
