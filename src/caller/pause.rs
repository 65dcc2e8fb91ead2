//! Delays the response to a refused caller without blocking others.
//!
//! Under nginx, a fixed number of workers run the program, so nginx itself waits, in a separate location. lighttpd
//! starts a program for each request, so a sleeping one blocks nobody. The server's configuration says which one it is.

use crate::appliance::{self, Appliance};
use crate::http::request::WaitingRoom;
use crate::http::response::{Response, Wait};
use crate::values::random;
use std::thread::sleep;
use std::time::Duration;

/// How long a refused caller waits.
const PAUSE: Duration = Duration::from_secs(2);
/// Callers that can wait at the same time, if we do not know whether waiting blocks others. Further ones do not wait.
const MAX_UNKNOWN: usize = 4;

/// Waits if the response should be delayed. Call it after reading the body; otherwise the server would count the delay
/// against the client.
pub fn pause(response: Response, appliance: &Appliance, room: Option<WaitingRoom>) -> Response {
    match (response.wait(), room) {
        (Wait::No, _) | (Wait::IfFree, None) => {}
        (Wait::IfFree | Wait::Always, Some(WaitingRoom::Nginx)) => return response.sent_by_nginx(),
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

/// Up to a second, at random. Otherwise guessers that are refused at the same moment return at the same moment, and
/// lighttpd starts a program for each before it serves anybody else.
fn spread() -> Duration {
    let [byte] = random::bytes::<1>().unwrap_or_default();
    Duration::from_millis(u64::from(byte) * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_four_places() {
        let wanted = [0, 1, 2, 3].map(|slot| format!(".pause-{slot}.lock"));
        assert_eq!(places().collect::<Vec<_>>(), wanted);
    }
}
