//! The checksums of archives: XXH64 and SHA-256.
//!
//! The manifest has an XXH64, which detects damage at the speed of memory. It does not stop an attacker who changes an
//! archive, and the judge does not rely on it. The SHA-256 of the whole file is for clients, after the download.

use sha2_fast::Digest;

const PRIMES: [u64; 5] =
    [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5];
const STRIPE: usize = 32;

/// A sum over bytes in chunks.
#[derive(Clone)]
pub struct Sum {
    lanes: [u64; 4],
    rest: [u8; STRIPE],
    n_rest: usize,
    total: u64,
}

impl Sum {
    /// The sum of no bytes.
    pub fn new() -> Sum {
        Sum {
            lanes: [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, 0u64.wrapping_sub(PRIMES[0])],
            rest: [0; STRIPE],
            n_rest: 0,
            total: 0,
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.total = self.total.wrapping_add(bytes.len() as u64);
        if self.n_rest > 0 {
            let n = bytes.len().min(STRIPE - self.n_rest);
            let (now, later) = bytes.split_at(n);
            self.rest[self.n_rest..self.n_rest + n].copy_from_slice(now);
            self.n_rest += n;
            bytes = later;
            if self.n_rest < STRIPE {
                return;
            }
            let stripe = self.rest;
            take(&mut self.lanes, &stripe);
            self.n_rest = 0;
        }
        let mut lanes = self.lanes;
        let (stripes, rest) = bytes.as_chunks::<STRIPE>();
        for stripe in stripes {
            take(&mut lanes, stripe);
        }
        self.lanes = lanes;
        self.rest[..rest.len()].copy_from_slice(rest);
        self.n_rest = rest.len();
    }

    /// The sum of all bytes so far.
    pub fn value(&self) -> u64 {
        let [a, b, c, d] = self.lanes;
        let mut sum = if self.total >= STRIPE as u64 {
            let mut sum = a
                .rotate_left(1)
                .wrapping_add(b.rotate_left(7))
                .wrapping_add(c.rotate_left(12))
                .wrapping_add(d.rotate_left(18));
            for lane in [a, b, c, d] {
                sum = (sum ^ round(0, lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
            }
            sum
        } else {
            PRIMES[4]
        };
        sum = sum.wrapping_add(self.total);
        let (words, rest) = self.rest[..self.n_rest].as_chunks::<8>();
        for word in words {
            sum ^= round(0, u64::from_le_bytes(*word));
            sum = sum.rotate_left(27).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
        }
        let (halves, rest) = rest.as_chunks::<4>();
        for half in halves {
            sum ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIMES[0]);
            sum = sum.rotate_left(23).wrapping_mul(PRIMES[1]).wrapping_add(PRIMES[2]);
        }
        for byte in rest {
            sum ^= u64::from(*byte).wrapping_mul(PRIMES[4]);
            sum = sum.rotate_left(11).wrapping_mul(PRIMES[0]);
        }
        sum = (sum ^ (sum >> 33)).wrapping_mul(PRIMES[1]);
        sum = (sum ^ (sum >> 29)).wrapping_mul(PRIMES[2]);
        sum ^ (sum >> 32)
    }
}

fn take(lanes: &mut [u64; 4], stripe: &[u8; STRIPE]) {
    let (words, _) = stripe.as_chunks::<8>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        *lane = round(*lane, u64::from_le_bytes(*word));
    }
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

/// A SHA-256 of bytes that come in pieces. It uses the processor's own instructions if there are any, which is five times
/// as fast. Detecting them costs more than a whole request needs for hashing, so this is a second version of the crate. Only
/// this file uses it, and the linker drops it from the executable that a web server starts.
#[derive(Clone, Default)]
pub struct Sha256(sha2_fast::Sha256);

impl Sha256 {
    /// Takes further bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum of all bytes.
    pub fn value(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are from the algorithm's own command line, xxhsum -H64.
    #[test]
    fn the_sum_is_that_of_the_algorithm_however_the_bytes_come() {
        for (bytes, expected) in [
            (&b""[..], 0xef46_db37_51d8_e999),
            (b"a", 0xd24e_c4f1_a98c_6e5b),
            (b"abc", 0x44bc_2cf5_ad77_0999),
            (b"xxhash is a fast checksum, forty bytes..", 0),
        ] {
            let mut whole = Sum::new();
            whole.update(bytes);
            assert!(expected == 0 || whole.value() == expected, "{:x}", whole.value());
            for size in 1..bytes.len() {
                let mut pieces = Sum::new();
                bytes.chunks(size).for_each(|piece| pieces.update(piece));
                assert_eq!(pieces.value(), whole.value());
            }
        }
    }
}
