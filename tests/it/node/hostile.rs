//! Broken trees.
