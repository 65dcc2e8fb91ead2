//! Makes a refused caller wait for his answer, without anything waiting that others need.
//!
//! Under nginx the programs run by a fixed number of workers, so nginx itself waits, in a location for that. lighttpd starts
//! a program for each request, and a sleeping one is in nobody's way. The server's configuration says which it is.

use crate::appliance::{self, Appliance};
use crate::http::request::WaitingRoom;
use crate::http::response::{Response, Wait};
use crate::values::random;
use std::thread::sleep;
use std::time::Duration;

/// How long a refused caller waits.
const PAUSE: Duration = Duration::from_secs(2);
/// Callers that may wait at a time where we do not know whether they hold something. Beyond these nobody waits.
const MAX_UNKNOWN: usize = 4;

/// Lets an answer that should wait do so. Called when the body has been read: a server that is still sending it would count
/// the pause against the client.
pub fn pause(response: Response, appliance: &Appliance, room: Option<WaitingRoom>) -> Response {
    match (response.wait(), room) {
        (Wait::No, _) | (Wait::IfFree, None) => {}
        (Wait::IfFree | Wait::Always, Some(WaitingRoom::Nginx)) => return response.given_by_nginx(),
        (Wait::IfFree, Some(WaitingRoom::Program)) => sleep(PAUSE + spread()),
        (Wait::Always, Some(WaitingRoom::Program)) => sleep(PAUSE),
        (Wait::Always, None) => {
            for slot in 0..MAX_UNKNOWN {
                let path = appliance.uploads().join(place(slot));
                let file = appliance::open_own(&path, Some(0o600));
                if file.is_ok_and(|file| file.try_lock().inspect(|()| sleep(PAUSE)).is_ok()) {
                    break;
                }
            }
        }
    }
    response
}

/// The names of the places in the exchange directory.
pub fn places() -> impl Iterator<Item = String> {
    (0..MAX_UNKNOWN).map(place)
}

fn place(slot: usize) -> String {
    format!(".pause-{slot}.lock")
}

/// Up to a second, at random. Those who guess and are refused at one moment would come back at one moment, and lighttpd
/// would start a program for each of them before it gets to anybody else.
fn spread() -> Duration {
    let [byte] = random::bytes::<1>().unwrap_or_default();
    Duration::from_millis(u64::from(byte) * 4)
}
