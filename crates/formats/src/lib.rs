//! Data formats: detect, read, write, cut, join.
