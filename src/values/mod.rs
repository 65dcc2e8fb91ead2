//! Values: each is parsed once, and valid from then on. The only place that decides which values are valid. Nothing
//! here reads or writes a file of the appliance.

pub mod clock;
pub mod config;
pub mod rule;
pub mod json;
pub mod random;
pub mod shell_conf;
pub mod token;
pub mod scope;
pub mod signature;
pub mod network;
pub mod storage;
pub mod glob;
