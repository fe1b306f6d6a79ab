//! nodemend.
