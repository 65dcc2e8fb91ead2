//! Bodies that are not as long as they say, requests inside requests, clients that are slow or vanish, and forms that would
//! fill memory: through both servers, and the executable alone where a server would stand in the way.

use super::world::{Headers, TOKEN, World, answers, for_each, on_both};
use crate::contract::form;
use crate::contract::http::{command, send_with};
use crate::support::{Fixture, wait_until};
use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// A request that would be answered with `CONTENT`, were it ever taken for one.
const INNER: &str = "GET /api/v1/admin/version?token=yourtoken HTTP/1.1\r\nHost: localhost\r\n\r\n";
const CONTENT: &str = "1.2.3";

/// Sends a request that contains another. Neither may be answered as if it were the inner one, and the server goes on.
fn check_no_smuggling(world: &World, what: &str, request: &[u8]) {
    let wire = world.connect();
    wire.send(request);
    // Some servers rightly wait for a body that never comes.
    let raw = wire.read_for(Duration::from_millis(1500));
    let what = format!("{}: {what}", world.server);
    let text = String::from_utf8_lossy(&raw);
    assert!(!text.contains(CONTENT), "{what}: the inner request was answered: {text}");
    for (n, answer) in answers(&raw).iter().enumerate() {
        assert!(matches!(answer.status, 400..=499 | 501 | 505), "{what}: {} {}", answer.status, answer.text());
        assert!(n == 0 || answer.status != 403, "{what}: a second request was taken out of the first: {text}");
    }
}

#[test]
fn no_framing_smuggles_a_request() {
    let n = INNER.len();
    let chunked = format!("0\r\n\r\n{INNER}");
    let total = chunked.len();
    let mut requests: Vec<(String, String)> = Vec::new();
    let mut add = |headers: String, body: &str| {
        let head = format!("POST /api/v1/admin/update HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        requests.push((headers, head + body));
    };
    // Lengths that lie, are none, or are two.
    for length in [
        "x".to_owned(),
        "-1".to_owned(),
        "-0".to_owned(),
        format!("+{n}"),
        format!("0x{n:x}"),
        format!("{n}x"),
        format!("{n} {n}"),
        format!("{n},{n}"),
        format!("{n}, 0"),
        format!("0, {n}"),
        format!("{n}\u{b}"),
        format!("{n}.0"),
        "1e3".to_owned(),
        "9223372036854775808".to_owned(),
        "18446744073709551616".to_owned(),
        "99999999999999999999999999".to_owned(),
        "\u{661}".to_owned(),
    ] {
        add(format!("Content-Length: {length}\r\n"), INNER);
    }
    for (first, second) in [(n, 0), (0, n), (n, n + 1), (1, n)] {
        add(format!("Content-Length: {first}\r\nContent-Length: {second}\r\n"), INNER);
    }
    add(format!("Content-Length: {n}\r\nContent-Length: \r\n"), INNER);
    add(format!("Content-Length : {n}\r\n"), INNER);
    add(format!(" Content-Length: {n}\r\n"), INNER);
    add(format!("Content-Length:\r\n {n}\r\n"), INNER);
    add(format!("X: y\r\n Content-Length: {n}\r\n"), INNER);
    add(format!("Content-Length: {n}\r\nX\r\n"), INNER);
    add(format!("X\0: y\r\nContent-Length: {n}\r\n"), INNER);
    add(format!(": y\r\nContent-Length: {n}\r\n"), INNER);
    add(format!("Content_Length: {n}\r\nContent-Length: 0, {n}\r\n"), INNER);
    // A length and chunks: whichever counts, nothing of the rest may be a request.
    for coding in [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: CHUNKED",
        "transfer-encoding:chunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\0: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "TE: chunked",
        "Connection: content-length",
        "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
    ] {
        add(format!("Content-Length: {total}\r\n{coding}\r\n"), &chunked);
        add(format!("{coding}\r\nContent-Length: {total}\r\n"), &chunked);
    }
    // Chunks that are none.
    for body in [
        "g\r\n",
        "-1\r\n\r\n",
        "+0\r\n\r\n",
        "0x0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
        "FFFFFFFFFFFFFFFF\r\n",
        "8000000000000000\r\n",
        "3\r\nabcdef\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "\r\n",
        "0\r\nX",
    ] {
        add("Transfer-Encoding: chunked\r\n".to_owned(), &format!("{body}{INNER}"));
    }
    add("Transfer-Encoding: chunked\r\n".to_owned(), &format!("1;{}\r\nx\r\n", "e".repeat(100_000)));
    add("Transfer-Encoding: chunked\r\n".to_owned(), &format!("0\r\n{}", "X: y\r\n".repeat(20_000)));
    // A method that has no body, with one.
    let mut others: Vec<(String, String)> = Vec::new();
    for line in
        ["GET /api/v1/admin/services", "PATCH /api/v1/admin/services", "PUT /api/v1/admin/update", "GET /docs/x"]
    {
        let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {n}\r\n\r\n{INNER}");
        others.push((line.to_owned(), head));
    }
    for request in [
        format!(
            "POST /api/v1/admin/update HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: {total}\r\n\r\n{chunked}"
        ),
        format!("POST /api/v1/admin/update HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: {n}\r\n\r\n{INNER}"),
        format!("POST /api/v1/admin/update HTTP/1.1\r\nContent-Length: {n}\r\n\r\n{INNER}"),
        format!("POST /api/v1/admin/update HTTP/9.9\r\nHost: a\r\nContent-Length: {n}\r\n\r\n{INNER}"),
        format!("POST /api/v1/admin/update HTTP/1.1 x\r\nHost: a\r\nContent-Length: {n}\r\n\r\n{INNER}"),
        format!("POST  /api/v1/admin/update HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n{INNER}"),
        format!("POST /api/v1/admin/update HTTP/1.1\r\nHost: a b\r\nContent-Length: {n}\r\n\r\n{INNER}"),
        format!("CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {n}\r\n\r\n{INNER}"),
        format!("\r\n\r\n\r\nPOST /api/v1/admin/update HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n{INNER}"),
        format!("\0POST /api/v1/admin/update HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n{INNER}"),
    ] {
        others.push((request.lines().next().unwrap_or_default().to_owned(), request));
    }
    requests.append(&mut others);
    on_both(|world| {
        for_each(&requests, |(what, request)| check_no_smuggling(world, what, request.as_bytes()));
        world.check_untouched("framing");
        let answers = world.talk(INNER.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(answers.len() == 1 && answers[0].text().contains(CONTENT), "{}: it goes on", world.server);
    });
}

#[test]
fn http2_carries_nothing_that_http1_reads_differently() {
    let method: (&[u8], &[u8]) = (b":method", b"POST");
    let scheme: (&[u8], &[u8]) = (b":scheme", b"https");
    let host: (&[u8], &[u8]) = (b":authority", b"localhost");
    let path: (&[u8], &[u8]) = (b":path", b"/api/v1/admin/update");
    let inner = INNER.as_bytes();
    let injected = [b"y\r\n\r\n", inner].concat();
    let line = [b"/docs HTTP/1.1\r\nHost: localhost\r\n\r\n", inner].concat();
    let verb = [b"GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n", inner].concat();
    let length = inner.len().to_string();
    let cases: Vec<(&str, Headers<'_>)> = vec![
        ("a length that is too small", vec![method, scheme, host, path, (b"content-length", b"1")]),
        ("a length that is too large", vec![method, scheme, host, path, (b"content-length", b"100000")]),
        ("a length that is none", vec![method, scheme, host, path, (b"content-length", b"x")]),
        (
            "two lengths",
            vec![method, scheme, host, path, (b"content-length", b"0"), (b"content-length", length.as_bytes())],
        ),
        ("chunks", vec![method, scheme, host, path, (b"transfer-encoding", b"chunked")]),
        ("a line end in a header", vec![method, scheme, host, path, (b"x", &injected)]),
        ("a line end in a name", vec![method, scheme, host, path, (b"x\r\n\r\nget / http/1.1", b"y")]),
        ("a NUL in a header", vec![method, scheme, host, path, (b"x", b"a\0b")]),
        ("a colon in a name", vec![method, scheme, host, path, (b"x: y", b"z")]),
        ("upper case", vec![method, scheme, host, path, (b"Content-Length", b"0")]),
        ("a request line in the path", vec![(b":method", b"GET"), scheme, host, (b":path", &line)]),
        ("a request in the method", vec![(b":method", &verb), scheme, host, path]),
        ("a request in the authority", vec![method, scheme, (b":authority", &injected), path]),
        ("two paths", vec![method, scheme, host, path, (b":path", b"/api/v1/admin/version?token=yourtoken")]),
        ("two methods", vec![method, (b":method", b"GET"), scheme, host, path]),
        ("no path", vec![method, scheme, host]),
        ("an empty path", vec![method, scheme, host, (b":path", b"")]),
        ("no method", vec![scheme, host, path]),
        ("a late pseudo-header", vec![method, scheme, host, (b"x", b"y"), path]),
        ("an unknown pseudo-header", vec![method, scheme, host, path, (b":x", b"y")]),
        ("connection headers", vec![method, scheme, host, path, (b"connection", b"keep-alive"), (b"upgrade", b"h2c")]),
    ];
    on_both(|world| {
        for (what, headers) in cases.iter().filter(|_| world.speaks_h2()) {
            let answer = &world.talk_h2(std::slice::from_ref(headers), Some(inner))[0];
            let what = format!("{}: {what}", world.server);
            assert!(answer.n_heads <= 1, "{what}: {answer:?}");
            let text = answer.text();
            let is_failure = text.starts_with("{\"Status\":\"5") && !text.starts_with("{\"Status\":\"501 ");
            assert!(!text.contains(CONTENT) && !is_failure, "{what}: {text}");
        }
        world.check_untouched("HTTP/2");
    });
}

#[test]
fn old_clients_have_one_answer_each() {
    on_both(|world| {
        for (request, status) in [
            ("GET /api/v1/admin/version?token=yourtoken HTTP/1.0\r\n\r\n", 200),
            ("GET /api/v1/admin/version HTTP/1.0\r\nHost: localhost\r\n\r\n", 403),
            ("HEAD /docs HTTP/1.0\r\n\r\n", 200),
            ("POST /api/v1/admin/update?token=yourtoken HTTP/1.0\r\nContent-Length: 0\r\n\r\n", 400),
        ] {
            let wire = world.connect();
            wire.send(request.as_bytes());
            let raw = String::from_utf8(wire.read_to_end()).unwrap();
            let what = format!("{}: {request}: {raw}", world.server);
            assert_eq!(raw.matches("HTTP/1.").count(), 1, "{what}");
            assert_eq!(raw[9..12].parse(), Ok(status), "{what}");
        }
    });
}

/// A request that uploads `content`, whole.
fn upload(content: &str) -> Vec<u8> {
    let (kind, body) = form::encode(&[("update", content)]);
    let head = format!(
        "POST /api/v1/admin/update?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

#[test]
fn a_client_that_vanishes_leaves_nothing_at_any_phase() {
    let request = upload(&"package ".repeat(20_000));
    let find = |text: &str| request.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    let (head, part) = (find("\r\n\r\n") + 4, find("name=\"update\""));
    let content = part + 60;
    let phases = [
        0,
        1,
        20,
        head - 2,
        head,
        head + 1,
        part,
        content,
        content + 5000,
        request.len() - 60_000,
        request.len() - 5,
        request.len() - 3,
    ];
    on_both(|world| {
        for_each(&phases, |phase| {
            let wire = world.connect();
            wire.send(&request[..*phase]);
            // What was sent is there by then, whatever becomes of it.
            let early = wire.read_for(Duration::from_millis(100));
            assert!(early.is_empty(), "{}: an answer before the body: {}", world.server, early.escape_ascii());
            wire.vanish();
        });
        let program = world.fixture.root.join("program");
        wait_until("no program waits for a body that does not come", || n_processes(&program) == 0);
        world.check_untouched("vanished");
        assert_eq!(world.talk(&request)[0].status, 202, "{}: the lock is free", world.server);
        assert_eq!(world.fixture.calls(1), ["update"], "{}", world.server);
    });
}

fn n_processes(program: &std::path::Path) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter(|entry| fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program)).count()
}

#[test]
fn a_slow_body_arrives_whole() {
    let request = upload("a small package");
    on_both(|world| {
        let wire = world.connect();
        for piece in request.chunks(7) {
            wire.send(piece);
            std::thread::sleep(Duration::from_millis(2));
        }
        let answers = answers(&wire.read_to_end());
        assert_eq!((answers.len(), answers[0].status), (1, 202), "{}: {}", world.server, answers[0].text());
        world.fixture.calls(1);
        assert_eq!(world.fixture.read("home/sftp/uploads/software_package-zzz.enc"), "a small package");
    });
}

#[test]
fn slow_clients_without_a_credential_delay_no_other_client() {
    on_both(|world| {
        // More than fcgiwrap has workers. Some say who they are not, some leave that for the form, some need no body.
        let lines = [
            "POST /api/v1/admin/update",
            "POST /api/v1/admin/setup?token=wrong",
            "POST /api/v1/admin/x",
            "POST /docs",
            "GET /api/v1/admin/version",
            "PUT /api/v1/admin/version",
        ];
        let wires: Vec<_> = (0..60)
            .map(|n| {
                let wire = world.connect();
                let line = lines[n % lines.len()];
                wire.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 50000\r\n\r\n--x\r\n").as_bytes());
                wire
            })
            .collect();
        let begun = Instant::now();
        let answers = world.talk(
            b"GET /api/v1/admin/version?token=yourtoken HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        );
        assert!(answers[0].text().contains(CONTENT), "{}: {}", world.server, answers[0].text());
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{}: a valid client waited {:?}",
            world.server,
            begun.elapsed()
        );
        drop(wires);
        world.check_untouched("slow");
    });
}

#[test]
fn endless_streams_of_one_connection_delay_no_other_client() {
    on_both(|world| {
        if !world.speaks_h2() {
            return;
        }
        // A hundred requests over one connection whose bodies never come.
        let requests: Vec<Headers<'_>> = (0..100)
            .map(|n| {
                let method: &[u8] = if n % 2 == 0 { b"GET" } else { b"POST" };
                let path: &[u8] = b"/api/v1/admin/update?token=wrong";
                vec![(&b":method"[..], method), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", path)]
            })
            .collect();
        let wire = world.open_streams(&requests);
        let begun = Instant::now();
        let answers = world.talk(
            b"GET /api/v1/admin/version?token=yourtoken HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        );
        assert!(answers[0].text().contains(CONTENT), "{}: {}", world.server, answers[0].text());
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{}: a valid client waited {:?}",
            world.server,
            begun.elapsed()
        );
        wire.vanish();
        world.check_untouched("streams");
    });
}

#[test]
fn a_form_of_ten_thousand_parts_is_refused_before_it_costs_anything() {
    let part = "--x\r\nContent-Disposition: form-data; name=\"hash\"\r\n\r\nx\r\n";
    let distinct: String =
        (0..10_000).map(|n| format!("--x\r\nContent-Disposition: form-data; name=\"f{n}\"\r\n\r\n\r\n")).collect();
    for body in
        [part.repeat(10_000) + "--x--\r\n", distinct + "--x--\r\n", "--x\r\n".repeat(10_000), "\r\n".repeat(1_000_000)]
    {
        let fixture = Fixture::new();
        let body = (("multipart/form-data; boundary=x"), body.into_bytes());
        let answer = send_with(command(&fixture, "POST", "/api/v1/admin/update?token=yourtoken"), Some(body)).0;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(fixture.calls(0).len(), 0);
    }
    let many = (0..100_000).map(|n| format!("f{n}=x&")).collect::<String>();
    let fixture = Fixture::new();
    let body = ("application/x-www-form-urlencoded", many.into_bytes());
    let answer = send_with(command(&fixture, "POST", "/api/v1/admin/setup?token=yourtoken"), Some(body)).0;
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[test]
fn a_text_field_of_a_gibibyte_needs_little_memory_and_is_refused() {
    const GIBIBYTE: usize = 1 << 30;
    for (target, name, status) in [
        ("/api/v1/admin/setup?token=yourtoken", "newtoken", 400),
        ("/api/v1/admin/setup", "token", 413),
        ("/api/v1/admin/settings?token=yourtoken", "settings", 400),
        ("/api/v1/admin/certs?token=yourtoken", "private", 400),
    ] {
        for has_length in [true, false] {
            let fixture = Fixture::new();
            let head = format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            let mut command = command(&fixture, "POST", target);
            command.env("CONTENT_TYPE", "multipart/form-data; boundary=x");
            if has_length {
                command.env("CONTENT_LENGTH", (head.len() + GIBIBYTE).to_string());
            }
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(head.as_bytes()).unwrap();
            let block = vec![b'x'; 1 << 20];
            for _ in 0..GIBIBYTE / block.len() - 1 {
                // One that stops at its limit takes no more.
                if stdin.write_all(&block).is_err() {
                    break;
                }
            }
            let status_file = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let peak = status_file.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            if let Some(peak) = peak {
                let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
                assert!(peak < 16 << 10, "{name}: {peak} KiB");
            }
            drop(stdin.write_all(&block));
            drop(stdin);
            let mut answer = String::new();
            child.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
            child.wait().unwrap();
            let wanted =
                if status == 413 && !has_length { "Status: 4".to_owned() } else { format!("Status: {status} ") };
            let is_refused = answer.starts_with(&wanted) || answer.starts_with("Status: 403 ");
            assert!(is_refused && answer.matches("Status: ").count() == 1, "{name}: {answer}");
            assert_eq!(fixture.uploads(), ["backup.tar"], "{name}");
        }
    }
}

#[test]
fn a_length_that_lies_is_noticed_by_the_executable() {
    let (kind, body) = form::encode(&[("update", "package")]);
    let n = body.len();
    for (length, status) in [
        (Some(n.to_string()), 202),
        (None, 202),
        (Some((n + 1).to_string()), 400),
        (Some((n - 3).to_string()), 400),
        (Some("1".to_owned()), 400),
        (Some("0".to_owned()), 400),
        (Some(format!("{n}, {n}")), 400),
        (Some(format!(" {n}")), 400),
        (Some(format!("-{n}")), 400),
        (Some(u64::MAX.to_string()), 413),
        (Some(format!("{}0", u64::MAX)), 400),
    ] {
        let fixture = Fixture::new();
        let mut command = command(&fixture, "POST", "/api/v1/admin/update?token=yourtoken");
        command.env("CONTENT_TYPE", &kind);
        if let Some(length) = &length {
            command.env("CONTENT_LENGTH", length);
        }
        let mut child = command.spawn().unwrap();
        // A body that nobody reads breaks the pipe, and that is no fault here.
        drop(child.stdin.take().unwrap().write_all(&body));
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with(&format!("Status: {status} ")), "{length:?}: {text}");
        assert_eq!(text.matches("Status: ").count(), 1, "{length:?}: {text}");
        fixture.calls(usize::from(status == 202));
    }
}
