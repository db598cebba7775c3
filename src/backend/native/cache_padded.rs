//! What one side writes to is on lines of the cache that the other does not.

/// Two lines, because processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Apart<T>(pub(super) T);
