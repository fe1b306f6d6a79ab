//! The metrics page against node_exporter, on broken trees, on wide machines and over HTTP.
//!
//! Needs Debian's packages `prometheus-node-exporter` and `prometheus` (binaries only, nothing is
//! started as a service) and root for the stuck mount; fails without them.

mod agent;
mod asked;
mod docs;
mod hostile;
mod machines;
mod over_http;
mod page;
mod promtool;
mod sameness;
mod scale;
mod stuck;
mod tls;
mod upstream;
mod usual;
