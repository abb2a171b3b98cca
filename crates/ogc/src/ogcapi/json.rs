//! Reading JSON: members in order, none twice, no deeper than a limit.
