//! Reliable delivery over a transport that loses, repeats and reorders: without IO and without a clock.
