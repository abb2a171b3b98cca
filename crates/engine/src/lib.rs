//! Jobs: registry, admission, life cycle, dispatch, job store, result store.
