//! Attacks by unauthenticated clients, broken clients and failing machines, on the executable and on both web servers
//! with the shipped configurations. Each test asserts what must always hold rather than an exact response.

mod canary;
mod faults;
mod framing;
mod paths;
mod world;
