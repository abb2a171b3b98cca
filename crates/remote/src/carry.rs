//! Values on their way: inline where small, else over the data plane.
