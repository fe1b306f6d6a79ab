//! A simulated week.
