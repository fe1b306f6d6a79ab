//! Tests of the folder, by subject.

mod catalogue;
mod document;
mod plan;
mod signature;
