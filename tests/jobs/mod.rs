//! Complete jobs, run through wrapper.sh under dash and busybox, on a simulated machine for each test.

mod appliance;
mod backup;
mod certs;
mod change;
mod crash;
mod hostile;
mod license;
mod monitor;
mod network;
mod settings;
mod storage;
mod support;
mod takeover;
mod token;
mod tokens;
mod trees;
mod update;
mod wrapper;
