//! The agent protocol: one Message enum, its wire forms, proxy and agent.
