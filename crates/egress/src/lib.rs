//! The only way out: every outbound HTTP request, under one policy.
