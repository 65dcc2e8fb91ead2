//! The headers of signed requests, a line each: whatever they say, nobody gets in without the key; a signature that parses
//! covers what it must; a good one that is changed in any byte is good no more.

#![no_main]

use jidoteki_admin_api::values::signature::{BodyProof, Message, Signature};
use jidoteki_admin_api_fuzz::Machine;
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

thread_local! {
    static MACHINE: RefCell<(Machine, u32)> = RefCell::new((Machine::new(), 0));
}

const NAMES: [(&str, &str); 8] = [
    ("signature-input", "HTTP_SIGNATURE_INPUT"),
    ("signature", "HTTP_SIGNATURE"),
    ("content-digest", "HTTP_CONTENT_DIGEST"),
    ("part-digest", "HTTP_PART_DIGEST"),
    ("content-type", "CONTENT_TYPE"),
    ("content-length", "CONTENT_LENGTH"),
    ("host", "HTTP_HOST"),
    ("authorization", "HTTP_AUTHORIZATION"),
];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines: Vec<&str> = text.splitn(NAMES.len(), '\n').collect();
    let value = |wanted: &str| {
        let at = NAMES.iter().position(|(name, _)| *name == wanted);
        at.and_then(|at| lines.get(at)).copied().unwrap_or_default().to_owned()
    };
    let host = value("host");
    let message = Message { method: "POST", path: "/api/v1/admin/setup", query: "a=1", host: &host, header: &value };
    if let Ok(signature) = Signature::parse(&message) {
        for covered in ["\"@method\": POST\n", "\"@path\": /api/v1/admin/setup\n", "\"@query\": ?a=1\n"] {
            assert!(signature.base.contains(covered), "{}", signature.base);
        }
        // What is signed is what was sent, to the last byte.
        let (_, parameters) =
            value("signature-input").split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(signature.base.ends_with(&format!("\"@signature-params\": {parameters}")));
        assert!((8..=128).contains(&signature.nonce.len()) && signature.created > 0);
        assert_eq!(signature.proof == BodyProof::Nothing, !signature.base.contains("-digest\": "));
    }
    if data.contains(&0) || text.contains("yourtoken") {
        return;
    }
    let mut variables = vec![
        ("REQUEST_METHOD".to_owned(), b"POST".to_vec()),
        ("REQUEST_URI".to_owned(), b"/api/v1/admin/setup?a=1".to_vec()),
        ("REMOTE_ADDR".to_owned(), b"2001:db8::1".to_vec()),
    ];
    for ((_, cgi), line) in NAMES.iter().zip(&lines) {
        variables.push(((*cgi).to_owned(), line.as_bytes().to_vec()));
    }
    MACHINE.with_borrow_mut(|(machine, n)| {
        *n += 1;
        if *n % 512 == 0 {
            machine.reset();
        }
        let answer = machine.ask(&variables, b"newtoken=x");
        assert!(answer.status >= 400, "{}", answer.status);
    });
});
