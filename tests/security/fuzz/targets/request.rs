//! Environment and body: lines `NAME=value`, an empty line, the body. Nobody gets in who shows nothing good.

#![no_main]

use jidoteki_admin_api_fuzz::{Machine, TOKEN};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

thread_local! {
    static MACHINE: RefCell<(Machine, u32)> = RefCell::new((Machine::new(), 0));
}

/// The tags of the document over what the corpus asks for.
const GOOD: [&[u8]; 3] = [TOKEN.as_bytes(), b"b714a60732e096ccef06e360eefe0f1ba4fa5d16ef7da726612e2026e5523241", b"%"];

fuzz_target!(|data: &[u8]| {
    let (head, body) = match data.windows(2).position(|window| window == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &b""[..]),
    };
    // What no operating system can hand over, no web server can.
    if head.contains(&0) {
        return;
    }
    let mut variables: Vec<(String, Vec<u8>)> = head
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b'=')?;
            Some((String::from_utf8(line[..at].to_vec()).ok()?, line[at + 1..].to_vec()))
        })
        // These come from the web server's configuration.
        .filter(|(name, _)| !name.starts_with("JIDO_"))
        .collect();
    variables.truncate(32);
    MACHINE.with_borrow_mut(|(machine, n)| {
        *n += 1;
        if *n % 512 == 0 {
            machine.reset();
        }
        let answer = machine.ask(&variables, body);
        // `%` may spell the token; nothing else may.
        let may_be_known = GOOD.iter().any(|good| data.windows(good.len()).any(|window| window == *good));
        if !may_be_known {
            let is_page = answer.body.starts_with(b"<!DOCTYPE html>");
            assert!(
                answer.status >= 400 || is_page || answer.body.is_empty() && is_docs(&variables),
                "{}",
                answer.status
            );
            assert!(!answer.body.windows(6).any(|window| window == b"canary"), "{}", answer.body.escape_ascii());
        }
    });
});

fn is_docs(variables: &[(String, Vec<u8>)]) -> bool {
    variables.iter().any(|(_, value)| value.windows(5).any(|window| window == b"/docs"))
}
