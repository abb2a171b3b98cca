//! The vocabulary of the standards, without their syntax.
