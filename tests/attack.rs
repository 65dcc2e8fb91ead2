//! Attacks: what a stranger, a broken client or a dying machine can do to the executable and to both web servers with the
//! configurations that are shipped. Each asserts what must hold whatever comes, more than what exactly is answered.

mod canary;
mod faults;
mod framing;
mod paths;
mod world;
