//! The jobs, run whole through wrapper.sh under dash and under busybox, in a machine made for each test.

mod appliance;
mod backup;
mod certs;
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
mod trees;
mod update;
mod wrapper;
