//! Uploads that come in pieces and continue after a cut, through the executable and through both web servers.

use crate::contract::cases::Answer;
use crate::contract::form;
use crate::contract::http::{Edge, command, send_with};
use crate::security::signed::{Signed, base64_digest};
use crate::support::{CONFIG, Fixture, wait_until};
use rustix::fs::{AtFlags, Timespec, Timestamps};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

const UPLOADS: &str = "/api/v1/admin/uploads";
/// Bytes that most tests send at a time.
const PIECE: usize = 8 << 20;
const NOT_FOUND: &str = r#"{"Status":"404 Not Found"}"#;

/// Bytes of which no two blocks are alike.
fn content(length: usize) -> Vec<u8> {
    (0u64..).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(length).collect()
}

fn open(fixture: &Fixture, token: &str, fields: &[(&str, &str)]) -> Answer {
    let (kind, body) = form::encode(fields);
    send_with(command(fixture, "POST", &format!("{UPLOADS}?token={token}")), Some((&kind, body))).0
}

/// Opens an upload for an update; its id.
#[track_caller]
fn opened(fixture: &Fixture, bytes: &[u8], sha256: Option<&str>) -> String {
    let length = bytes.len().to_string();
    let mut fields = vec![("for", "update"), ("length", length.as_str())];
    fields.extend(sha256.map(|sha256| ("sha256", sha256)));
    let answer = open(fixture, "yourtoken", &fields);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let location = answer.header("Location");
    assert_eq!(answer.header("Upload-Limit"), "max-append-size=67108864, max-age=86400");
    let id = location.strip_prefix("/api/v1/admin/uploads/").unwrap().to_owned();
    assert_eq!(
        answer.text(),
        format!(
            r#"{{"Status":"201 Created","Location":"{location}","Upload":"{id}","Length":{length},"Offset":0,"Piece":67108864}}"#
        )
    );
    id
}

fn target(id: &str) -> String {
    format!("{UPLOADS}/{id}?token=yourtoken")
}

fn piece_command(fixture: &Fixture, id: &str, offset: usize, last: &str) -> Command {
    let mut command = command(fixture, "PATCH", &target(id));
    command.env("HTTP_UPLOAD_OFFSET", offset.to_string()).env("HTTP_UPLOAD_COMPLETE", last);
    command
}

fn send(fixture: &Fixture, id: &str, offset: usize, last: &str, bytes: &[u8]) -> Answer {
    let command = piece_command(fixture, id, offset, last);
    send_with(command, Some(("application/partial-upload", bytes.to_vec()))).0
}

/// Status, offset and completeness of an answer.
fn state(answer: &Answer) -> (u16, String, String) {
    (answer.status, answer.header("Upload-Offset"), answer.header("Upload-Complete"))
}

fn said(status: u16, offset: usize, last: &str) -> (u16, String, String) {
    (status, offset.to_string(), last.to_owned())
}

fn head(fixture: &Fixture, id: &str) -> Answer {
    send_with(command(fixture, "HEAD", &target(id)), None).0
}

fn inspect(fixture: &Fixture, id: &str) -> Answer {
    let (kind, body) = form::encode(&[("upload", id)]);
    send_with(command(fixture, "POST", "/api/v1/admin/update/inspect?token=yourtoken"), Some((&kind, body))).0
}

fn update(fixture: &Fixture, id: &str) -> Answer {
    let (kind, body) = form::encode(&[("upload", id)]);
    send_with(command(fixture, "POST", "/api/v1/admin/update?token=yourtoken"), Some((&kind, body))).0
}

fn folder(fixture: &Fixture) -> PathBuf {
    fixture.path("home/sftp/uploads/.resumable")
}

/// What lies in the folder of uploads.
fn kept(fixture: &Fixture) -> Vec<String> {
    let entries = fs::read_dir(folder(fixture)).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[test]
fn pieces_make_the_file_that_the_job_gets() {
    let fixture = Fixture::new();
    let bytes = content(2 * PIECE + 12_345);
    let id = opened(&fixture, &bytes, Some(&sha256(&bytes)));
    let answer = head(&fixture, &id);
    assert_eq!(state(&answer), said(204, 0, "?0"));
    assert_eq!(
        (answer.header("Upload-Length"), answer.header("Cache-Control")),
        (bytes.len().to_string(), "no-store".into())
    );
    assert_eq!(answer.body, b"");

    assert_eq!(update(&fixture, &id).status, 409, "it is not complete yet");
    assert_eq!(inspect(&fixture, &id).status, 409, "it is not complete yet");
    for (at, last) in [(0, "?0"), (PIECE, "?0"), (2 * PIECE, "?1")] {
        let end = bytes.len().min(at + PIECE);
        let answer = send(&fixture, &id, at, last, &bytes[at..end]);
        assert_eq!(state(&answer), said(204, end, last), "{}", answer.text());
        assert_eq!(answer.header("Content-Length"), "", "a 204 has no length");
    }
    // The answer to the last piece was lost, and the client says again that it was the last.
    assert_eq!(state(&send(&fixture, &id, bytes.len(), "?1", b"")), said(204, bytes.len(), "?1"));
    assert_eq!(state(&send(&fixture, &id, bytes.len(), "?0", b"x")), said(409, bytes.len(), "?0"));

    let list = send_with(command(&fixture, "GET", &format!("{UPLOADS}?token=yourtoken")), None).0.text();
    let (before, started) = list.split_once("\"started\":\"").unwrap();
    let length = bytes.len();
    assert_eq!(
        before,
        format!(r#"{{"uploads":[{{"id":"{id}","for":"update","length":{length},"offset":{length},"complete":true,"#)
    );
    assert!(started.ends_with("Z\"}]}"), "{started}");

    // The package can be inspected first, as often as somebody wants, and stays.
    for _ in 0..2 {
        let answer = inspect(&fixture, &id);
        let wanted = r#"{"version":"1.0.1","version-before":"1.0.0","signature":"valid","changelog":"1.0.1: fixes"}"#;
        assert_eq!((answer.status, answer.text()), (200, wanted.to_owned()));
    }
    assert_eq!(fixture.calls(2), ["inspect", "inspect"]);
    fixture.write("fail", "Reason: Error verifying software update package signature\n");
    let answer = inspect(&fixture, &id);
    let wanted = r#"{"Status":"400 Bad Request","Error-Message":"Unable to inspect the package: Error verifying software update package signature"}"#;
    assert_eq!((answer.status, answer.text()), (400, wanted.to_owned()));
    fixture.remove("fail");
    assert_eq!(inspect(&fixture, &id.replace(|_| true, "0")).status, 400, "another upload");

    let answer = update(&fixture, &id);
    assert_eq!(
        (answer.status, answer.text_without_job()),
        (202, r#"{"Status":"202 Accepted","Location":"/api/v1/admin/update"}"#.into())
    );
    assert_eq!(fixture.calls(4)[3], "update");
    assert!(fs::read(fixture.path("home/sftp/uploads/software_package-zzz.enc")).unwrap() == bytes);
    assert_eq!(kept(&fixture), Vec::<String>::new(), "the upload is used up");
    assert_eq!(update(&fixture, &id).status, 400);
    let audit: Vec<String> = fixture.audit().iter().map(|line| line.replace(",\"192.0.2.7\",\"admin\"", "")).collect();
    assert_eq!(audit, ["uploads.post,\"update\"", "update.post,\"\""]);
}

#[test]
fn a_restore_takes_an_upload_and_a_job_that_fails_gives_it_back() {
    let fixture = Fixture::new();
    let answer = open(&fixture, "yourtoken", &[("for", "restore"), ("length", "7")]);
    let id = answer.header("Location").rsplit('/').next().unwrap().to_owned();
    assert_eq!(state(&send(&fixture, &id, 0, "?1", b"archive")), said(204, 7, "?1"));
    assert_eq!(update(&fixture, &id).status, 400, "it is for something else");
    let restore = || {
        let (kind, body) = form::encode(&[("upload", &id)]);
        let target = "/api/v1/admin/backup/restore?token=yourtoken";
        send_with(command(&fixture, "POST", target), Some((&kind, body))).0
    };
    fixture.write("fail", "Reason: not a tar archive\n");
    assert_eq!(
        restore().text(),
        r#"{"Status":"400 Bad Request","Error-Message":"Unable to extract backup archive: not a tar archive"}"#
    );
    assert_eq!(kept(&fixture), [id.clone(), format!("{id}.txt")], "it is there as before");
    fixture.remove("fail");
    assert_eq!(restore().text(), r#"{"Status":"200 OK"}"#);
    assert_eq!(fixture.read("home/sftp/uploads/backup-archive.tar"), "archive");
    assert_eq!(kept(&fixture), Vec::<String>::new());
}

#[test]
fn an_upload_that_a_failed_job_has_used_up_is_gone() {
    let fixture = Fixture::new();
    let answer = open(&fixture, "yourtoken", &[("for", "restore"), ("length", "7")]);
    let id = answer.header("Location").rsplit('/').next().unwrap().to_owned();
    assert_eq!(state(&send(&fixture, &id, 0, "?1", b"archive")), said(204, 7, "?1"));
    fixture.write("hold", "");
    fixture.write("fail", "Reason: not a tar archive\n");
    std::thread::scope(|scope| {
        let restore = scope.spawn(|| {
            let (kind, body) = form::encode(&[("upload", &id)]);
            let target = "/api/v1/admin/backup/restore?token=yourtoken";
            send_with(command(&fixture, "POST", target), Some((&kind, body))).0
        });
        // As the real job does, before it judges.
        let place = fixture.path("home/sftp/uploads/backup-archive.tar");
        wait_until("the job has it", || place.exists());
        fs::remove_file(place).unwrap();
        fixture.remove("hold");
        assert_eq!(restore.join().unwrap().status, 400);
    });
    assert_eq!(kept(&fixture), Vec::<String>::new());
    assert_eq!(head(&fixture, &id).status, 404);
}

/// Stores these named tokens, all for updates: a name, and the token.
fn name_tokens(fixture: &Fixture, tokens: &[(&str, &str)]) {
    let one = |(name, token): &(&str, &str)| {
        let verifier = hex::encode(Sha256::digest(token));
        format!("{{\"name\":\"{name}\",\"scope\":\"operate\",\"verifier\":\"{verifier}\"}}")
    };
    let all: Vec<String> = tokens.iter().map(one).collect();
    fixture.write("etc/api.tokens.json", &format!("{{\"tokens\":[{}]}}", all.join(",")));
}

#[test]
fn the_uploads_of_a_removed_token_are_nobodys_and_block_nobody() {
    let fixture = Fixture::new();
    let fields = [("for", "update"), ("length", "7")];
    let named: Vec<(String, String)> = (0..4).map(|n| (format!("n{n}"), format!("token{n}"))).collect();
    let named: Vec<(&str, &str)> = named.iter().map(|(name, token)| (name.as_str(), token.as_str())).collect();
    name_tokens(&fixture, &named);
    for (_, token) in &named {
        for _ in 0..2 {
            assert_eq!(open(&fixture, token, &fields).status, 201);
        }
    }
    assert_eq!(open(&fixture, "yourtoken", &fields).status, 429, "there are eight");

    // The same name, and another token.
    name_tokens(&fixture, &[("n0", "new"), named[1]]);
    let list = |token: &str| {
        let answer = send_with(command(&fixture, "GET", &format!("{UPLOADS}?token={token}")), None).0;
        answer.text().matches("\"id\"").count()
    };
    assert_eq!((list("new"), list("token1")), (0, 2));
    assert_eq!(open(&fixture, "yourtoken", &fields).status, 201, "five of the eight are gone");
    assert_eq!(kept(&fixture).len(), 2 * 3, "{:?}", kept(&fixture));
    assert_eq!((list("token1"), list("yourtoken")), (2, 1));
    // Another name, and the same token.
    name_tokens(&fixture, &[("previous-1", "token1")]);
    assert_eq!(list("token1"), 2);
}

#[test]
fn an_upload_is_refused_before_its_first_byte() {
    let fixture = Fixture::new();
    let check = |fields: &[(&str, &str)], status: u16, message: &str| {
        let answer = open(&fixture, "yourtoken", fields);
        assert_eq!((answer.status, answer.header("Error-Message").as_str()), (status, message), "{fields:?}");
    };
    check(&[("length", "7")], 400, "Missing field: for");
    check(&[("for", "update")], 400, "Missing field: length");
    check(&[("for", "logs"), ("length", "7")], 400, "Invalid option: for. Allowed: update, restore");
    for length in ["0", "-1", "1.5", "", "99999999999999999999"] {
        check(
            &[("for", "update"), ("length", length)],
            400,
            "Invalid option: length. Allowed: the number of bytes, 1 or more",
        );
    }
    check(
        &[("for", "update"), ("length", "7"), ("sha256", "12")],
        400,
        "Invalid option: sha256. Allowed: 64 hexadecimal digits",
    );
    check(&[("for", "update"), ("length", "4294967297")], 413, "Upload too large: the limit is 4294967296 bytes");

    fixture
        .write("usr/jidoteki-admin-api.json", &CONFIG.replacen('{', "{\"max-upload-bytes\":4611686018427387904,", 1));
    let answer = open(&fixture, "yourtoken", &[("for", "update"), ("length", "4611686018427387904")]);
    let text = answer.header("Error-Message");
    assert!(
        text.starts_with("Upload too large: it has 4611686018427387904 bytes, and ") && answer.status == 413,
        "{text}"
    );

    fixture.write("usr/jidoteki-admin-api.json", r#"{"endpoints":[]}"#);
    check(&[("for", "restore"), ("length", "7")], 400, "Invalid option: for. Allowed: update, restore");
    fixture.write("usr/jidoteki-admin-api.json", CONFIG);

    let verifier = |token: &str| hex::encode(Sha256::digest(token));
    let tokens = ["read", "operate"]
        .map(|scope| format!("{{\"name\":\"{scope}\",\"scope\":\"{scope}\",\"verifier\":\"{}\"}}", verifier(scope)));
    fixture.write("etc/api.tokens.json", &format!("{{\"tokens\":[{}]}}", tokens.join(",")));
    let answer = open(&fixture, "operate", &[("for", "restore"), ("length", "7")]);
    assert_eq!(
        (answer.status, answer.header("Error-Message").as_str()),
        (403, "This token may not do that: it needs the scope admin")
    );
    assert_eq!(open(&fixture, "read", &[("for", "update"), ("length", "7")]).status, 403);
    assert_eq!(open(&fixture, "wrong", &[("for", "update"), ("length", "7")]).status, 403);

    // The one that runs, and one that it excludes.
    fixture.write("hold", "");
    let lock = File::create(fixture.path("home/sftp/uploads/.update.lock")).unwrap();
    lock.lock().unwrap();
    for (purpose, message) in [
        ("update", "Update failed: a job of this kind (update) is already running"),
        ("restore", "update is running since"),
    ] {
        let answer = open(&fixture, "yourtoken", &[("for", purpose), ("length", "7")]);
        assert_eq!(answer.status, 400, "{purpose}");
        assert!(
            answer.text().contains(message) && answer.text().ends_with(r#","Error-Code":"E1004"}"#),
            "{}",
            answer.text()
        );
    }
    drop(lock);
    fixture.remove("hold");
    assert_eq!(kept(&fixture), Vec::<String>::new(), "nothing of all these was opened");
}

#[test]
fn uploads_are_bounded_by_key_and_in_total_and_belong_to_the_key_that_opened_them() {
    let fixture = Fixture::new();
    let tokens: Vec<String> = (0..5)
        .map(|n| {
            format!(
                "{{\"name\":\"k{n}\",\"scope\":\"admin\",\"verifier\":\"{}\"}}",
                sha256(format!("token{n}").as_bytes())
            )
        })
        .collect();
    fixture.write("etc/api.tokens.json", &format!("{{\"tokens\":[{}]}}", tokens.join(",")));
    let fields = [("for", "update"), ("length", "7")];
    for n in 0..4 {
        for _ in 0..2 {
            assert_eq!(open(&fixture, &format!("token{n}"), &fields).status, 201);
        }
        let answer = open(&fixture, &format!("token{n}"), &fields);
        assert_eq!(
            (answer.status, answer.header("Error-Message").as_str()),
            (429, "Too many open uploads: at most 2 for each token, and 8 in all")
        );
    }
    assert_eq!(open(&fixture, "token4", &fields).status, 429);
    assert_eq!(kept(&fixture).len(), 16);

    let list = |token: &str| send_with(command(&fixture, "GET", &format!("{UPLOADS}?token={token}")), None).0.text();
    assert_eq!(list("token4"), r#"{"uploads":[]}"#);
    let id = list("token0").split('"').nth(5).unwrap().to_owned();
    for method in ["GET", "HEAD", "DELETE", "PATCH"] {
        let ask = |token: &str| {
            let mut command = command(&fixture, method, &format!("{UPLOADS}/{id}?token={token}"));
            command.env("HTTP_UPLOAD_OFFSET", "0").env("HTTP_UPLOAD_COMPLETE", "?0");
            send_with(command, Some(("application/partial-upload", Vec::new()))).0
        };
        let answer = ask("token1");
        assert_eq!(
            (answer.status, answer.text()),
            (404, if method == "HEAD" { String::new() } else { NOT_FOUND.to_owned() }),
            "{method}"
        );
    }
    let delete = send_with(command(&fixture, "DELETE", &format!("{UPLOADS}/{id}?token=token0")), None).0;
    assert_eq!((delete.status, delete.text()), (204, String::new()));
    assert_eq!(kept(&fixture).len(), 14);
    assert_eq!(open(&fixture, "token4", &fields).status, 201, "there is a place again");
}

#[test]
fn a_piece_that_does_not_continue_the_upload_changes_nothing() {
    let fixture = Fixture::new();
    let bytes = content(PIECE + 100);
    let id = opened(&fixture, &bytes, None);
    assert_eq!(state(&send(&fixture, &id, 0, "?0", &bytes[..1000])), said(204, 1000, "?0"));
    let check = |answer: Answer, status: u16, message: &str| {
        assert_eq!((answer.status, answer.header("Error-Message").as_str()), (status, message));
        assert_eq!(state(&head(&fixture, &id)), said(204, 1000, "?0"), "{message}");
        answer
    };
    for offset in [0, 999, 1001, bytes.len()] {
        let answer = check(send(&fixture, &id, offset, "?0", b"x"), 409, "The upload continues at another offset");
        assert_eq!(state(&answer), said(409, 1000, "?0"));
    }
    check(send(&fixture, &id, 1000, "?0", &content(PIECE + 1)), 413, "Upload too large: the limit is 8387708 bytes");
    check(send(&fixture, &id, 1000, "?1", b"x"), 400, "The last piece ends at byte 1001 of 8388708");
    check(send(&fixture, &id, 1000, "yes", b"x"), 400, "Expected Upload-Complete: ?0 or ?1");
    for (length, status, message) in [
        (bytes.len() + 1, 400, "Upload-Length differs: the upload has 8388708 bytes"),
        (bytes.len(), 409, "The upload continues at another offset"),
    ] {
        let mut piece = piece_command(&fixture, &id, 0, "?0");
        piece.env("HTTP_UPLOAD_LENGTH", length.to_string());
        check(send_with(piece, Some(("application/partial-upload", b"x".to_vec()))).0, status, message);
    }
    let mut piece = piece_command(&fixture, &id, 0, "?0");
    piece.env("HTTP_UPLOAD_OFFSET", "+1");
    check(
        send_with(piece, Some(("application/partial-upload", Vec::new()))).0,
        400,
        "Expected Upload-Offset: a number of bytes",
    );
    let piece = piece_command(&fixture, &id, 1000, "?0");
    check(
        send_with(piece, Some(("application/octet-stream", b"x".to_vec()))).0,
        400,
        "Expected Content-Type: application/partial-upload",
    );
    let mut piece = piece_command(&fixture, &id, 1000, "?0");
    piece.env("HTTP_CONTENT_DIGEST", format!("sha-256=:{}:", base64_digest(b"y")));
    check(
        send_with(piece, Some(("application/partial-upload", b"x".to_vec()))).0,
        400,
        "The piece does not match its Content-Digest",
    );
    // Without a length only the end tells that it is too much.
    let mut piece = piece_command(&fixture, &id, 1000, "?0");
    piece.env("CONTENT_TYPE", "application/partial-upload").env("HTTP_TRANSFER_ENCODING", "chunked");
    let mut child = piece.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&content(PIECE + 1)).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    assert!(output.starts_with(b"Status: 413 "), "{}", String::from_utf8_lossy(&output));
    // Nor may a piece be as long as it likes in an upload that is longer.
    let long = opened(&fixture, &vec![0; (64 << 20) + 2], None);
    let mut piece = piece_command(&fixture, &long, 0, "?0");
    piece.env("CONTENT_TYPE", "application/partial-upload").env("CONTENT_LENGTH", "67108865");
    check(send_with(piece, None).0, 413, "Upload too large: the limit is 67108864 bytes");
    // The client goes away in the middle.
    let mut piece = piece_command(&fixture, &id, 1000, "?0");
    piece.env("CONTENT_TYPE", "application/partial-upload").env("CONTENT_LENGTH", "5000");
    let mut child = piece.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&bytes[1000..4000]).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    assert!(output.starts_with(b"Status: 400 "), "{}", String::from_utf8_lossy(&output));
    assert_eq!(state(&head(&fixture, &id)), said(204, 1000, "?0"));
    // What was cut off is overwritten.
    assert_eq!(state(&send(&fixture, &id, 1000, "?0", &bytes[1000..PIECE])), said(204, PIECE, "?0"));
    check_tail(&fixture, &id, &bytes);
}

#[track_caller]
fn check_tail(fixture: &Fixture, id: &str, bytes: &[u8]) {
    assert_eq!(send(fixture, id, PIECE, "?1", &bytes[PIECE..]).status, 204);
    assert!(fs::read(folder(fixture).join(id)).unwrap() == bytes);
}

#[test]
fn an_upload_with_another_digest_is_refused_and_removed() {
    let fixture = Fixture::new();
    let id = opened(&fixture, b"package", Some(&sha256(b"another")));
    let answer = send(&fixture, &id, 0, "?1", b"package");
    assert_eq!(
        (answer.status, answer.header("Error-Message").as_str()),
        (400, "The upload does not have the announced SHA-256, and was removed")
    );
    assert_eq!(head(&fixture, &id).status, 404);
    assert_eq!(kept(&fixture), Vec::<String>::new());
}

#[test]
fn a_signature_vouches_for_each_piece() {
    let fixture = Fixture::new();
    let id = opened(&fixture, b"package", None);
    let path = format!("{UPLOADS}/{id}");
    let ask = |nonce: &str, digest_of: &[u8], body: &[u8], offset: &str| {
        let mut signed = Signed::new("PATCH", &path, &format!("piece-{nonce}"));
        signed.covered = vec![
            ("content-type", "application/partial-upload".to_owned()),
            ("content-digest", format!("sha-256=:{}:", base64_digest(digest_of))),
            ("upload-offset", offset.to_owned()),
            ("upload-complete", "?0".to_owned()),
        ];
        signed.send(&fixture, Some(("application/partial-upload", body.to_vec())))
    };
    assert_eq!(ask("1", b"pack", b"hack", "0").status, 403);
    assert_eq!(state(&head(&fixture, &id)), said(204, 0, "?0"));
    let answer = ask("2", b"pack", b"pack", "0");
    assert_eq!(state(&answer), said(204, 4, "?0"), "{}", answer.text());
    assert_eq!(ask("2", b"age", b"age", "4").status, 403, "its nonce was used");
    let mut uncovered = Signed::new("PATCH", &path, "piece-3");
    uncovered.covered = vec![("content-type", "application/partial-upload".to_owned())];
    assert_eq!(uncovered.send(&fixture, Some(("application/partial-upload", b"age".to_vec()))).status, 403);
    assert_eq!(state(&head(&fixture, &id)), said(204, 4, "?0"));
}

#[test]
fn two_requests_never_send_one_upload_at_a_time() {
    let fixture = Fixture::new();
    let id = opened(&fixture, b"package", None);
    let lock = OpenOptions::new().write(true).open(folder(&fixture).join(&id)).unwrap();
    lock.lock().unwrap();
    for answer in [send(&fixture, &id, 0, "?0", b"pack"), send_with(command(&fixture, "DELETE", &target(&id)), None).0]
    {
        assert_eq!(
            (answer.status, answer.header("Error-Message").as_str()),
            (409, "Another request is using this upload")
        );
        assert_eq!(answer.header("Upload-Offset"), "0");
    }
    drop(lock);
    // Its line has died without a word: it gives way to the one that continues.
    let mut idle = piece_command(&fixture, &id, 0, "?0");
    idle.env("CONTENT_TYPE", "application/partial-upload").env("CONTENT_LENGTH", "7");
    let mut idle = idle.spawn().unwrap();
    let mut stdin = idle.stdin.take().unwrap();
    stdin.write_all(b"XXXX").unwrap();
    wait_until("it has the upload", || {
        OpenOptions::new().write(true).open(folder(&fixture).join(&id)).unwrap().try_lock().is_err()
    });
    wait_until("the other one gets it", || send(&fixture, &id, 0, "?0", b"pack").status == 204);
    drop(stdin);
    let output = String::from_utf8(idle.wait_with_output().unwrap().stdout).unwrap();
    assert!(output.starts_with("Status: 409 Conflict\r\n"), "{output}");
    assert_eq!(state(&send(&fixture, &id, 4, "?1", b"age")), said(204, 7, "?1"));
    assert_eq!(fs::read(folder(&fixture).join(&id)).unwrap(), b"package");
    assert_eq!(kept(&fixture).len(), 2, "{:?}", kept(&fixture));
}

/// Web servers kill the program when its client goes away.
#[test]
fn a_slow_request_does_not_give_way_to_one_that_was_killed() {
    let fixture = Fixture::new();
    let id = opened(&fixture, b"package", None);
    fs::write(folder(&fixture).join(format!("{id}.wanted")), "").unwrap();
    age(&fixture, &format!("{id}.wanted"), 1);
    let mut slow = piece_command(&fixture, &id, 0, "?1");
    slow.env("CONTENT_TYPE", "application/partial-upload").env("CONTENT_LENGTH", "7");
    let mut slow = slow.spawn().unwrap();
    let mut stdin = slow.stdin.take().unwrap();
    stdin.write_all(b"pack").unwrap();
    // It would give way after a second.
    std::thread::sleep(Duration::from_millis(2500));
    drop(stdin.write_all(b"age"));
    drop(stdin);
    let output = String::from_utf8(slow.wait_with_output().unwrap().stdout).unwrap();
    assert!(output.starts_with("Status: 204 "), "{output}");
}

/// For each point at which the kernel is asked for something: kill the program there, lose what was not flushed, and go on.
#[test]
fn no_kill_at_any_point_loses_an_acknowledged_byte() {
    let fixture = Fixture::new();
    let bytes = content(300_000);
    let mut n_kills = 0;
    for call in ["pwrite64", "fdatasync", "openat", "unlinkat", "symlinkat", "renameat", "fsync", "write"] {
        for n in 1.. {
            let id = opened(&fixture, &bytes, Some(&sha256(&bytes)));
            assert_eq!(send(&fixture, &id, 0, "?0", &bytes[..70_001]).status, 204);
            let plain = piece_command(&fixture, &id, 70_001, "?0");
            let mut killed = Command::new("strace");
            killed.args(["-f", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
            killed.arg("-e").arg(format!("inject={call}:signal=KILL:when={n}")).arg(plain.get_program());
            killed.env_clear().env("PATH", "/usr/bin:/bin");
            killed.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
            killed.env("CONTENT_TYPE", "application/partial-upload").env("CONTENT_LENGTH", "199999");
            let mut child = killed.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            drop(child.stdin.take().unwrap().write_all(&bytes[70_001..270_000]));
            let is_whole = child.wait_with_output().unwrap().stdout.starts_with(b"Status: 204");

            let answer = head(&fixture, &id);
            let offset: usize = answer.header("Upload-Offset").parse().unwrap();
            assert!(offset == 270_000 || (offset == 70_001 && !is_whole), "{call} {n}: {offset}");
            let data = OpenOptions::new().read(true).write(true).open(folder(&fixture).join(&id)).unwrap();
            let mut acknowledged = vec![0; offset];
            data.read_exact_at(&mut acknowledged, 0).unwrap();
            assert!(acknowledged == bytes[..offset], "{call} {n}");
            // The power went, too: of what was not acknowledged anything may be left.
            match n % 3 {
                0 => data.set_len(offset as u64).unwrap(),
                1 => data.write_all_at(&vec![0xff; bytes.len() - offset], offset as u64).unwrap(),
                _ => {}
            }
            let answer = send(&fixture, &id, offset, "?1", &bytes[offset..]);
            assert_eq!(state(&answer), said(204, bytes.len(), "?1"), "{call} {n}: {}", answer.text());
            assert_eq!(send_with(command(&fixture, "DELETE", &target(&id)), None).0.status, 204);
            assert_eq!(kept(&fixture).into_iter().filter(|name| !name.ends_with(".new")).count(), 0);
            if is_whole {
                break;
            }
            n_kills += 1;
        }
    }
    assert!(n_kills >= 10, "{n_kills} kills: the points were not met");
}

/// Lets the time of a file in the folder of uploads lie so many hours back.
fn age(fixture: &Fixture, name: &str, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    let then = then.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let then = Timespec { tv_sec: then.as_secs().try_into().unwrap(), tv_nsec: 0 };
    let times = Timestamps { last_access: then, last_modification: then };
    let path = folder(fixture).join(name);
    rustix::fs::utimensat(rustix::fs::CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// What the sweep of root's jobs leaves in the folder of uploads.
fn sweep(fixture: &Fixture) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jidoteki-admin-jobs"));
    command.arg("sweep").env("JIDO_ADMIN_PATH", fixture.admin()).env("JIDO_ETC_PATH", fixture.etc());
    assert!(command.status().unwrap().success());
    kept(fixture)
}

/// Its last piece was empty, so that only its record is younger than a day.
#[test]
fn the_sweep_leaves_the_bytes_of_an_upload_with_a_young_record() {
    let fixture = Fixture::new();
    let id = opened(&fixture, b"package", None);
    assert_eq!(state(&send(&fixture, &id, 0, "?0", b"package")), said(204, 7, "?0"));
    age(&fixture, &id, 24);
    assert_eq!(state(&send(&fixture, &id, 7, "?1", b"")), said(204, 7, "?1"));
    assert_eq!(sweep(&fixture), [id.clone(), format!("{id}.txt")]);
    age(&fixture, &format!("{id}.txt"), 24);
    assert_eq!(sweep(&fixture), Vec::<String>::new());
}

/// A day later, as the times of the files say.
#[test]
fn an_unfinished_upload_ends_after_a_day() {
    let fixture = Fixture::new();
    let (old, young) = (opened(&fixture, b"package", None), opened(&fixture, b"package", None));
    for name in [old.clone(), format!("{old}.txt")] {
        age(&fixture, &name, 24);
    }
    for name in [young.clone(), format!("{young}.txt")] {
        age(&fixture, &name, 23);
    }
    // None of these is an upload, and none is followed or removed.
    let precious = fixture.path("etc/version.txt");
    std::os::unix::fs::symlink(&precious, folder(&fixture).join("f".repeat(32))).unwrap();
    fs::write(folder(&fixture).join("other"), "x").unwrap();
    age(&fixture, "other", 48);
    age(&fixture, &"f".repeat(32), 48);

    assert_eq!(head(&fixture, &old).status, 404);
    assert_eq!(
        head(&fixture, &young).header("Upload-Limit").split_once("max-age=").unwrap().1.len(),
        4,
        "less than an hour"
    );
    let locked = OpenOptions::new().write(true).open(folder(&fixture).join(&old)).unwrap();
    locked.lock().unwrap();
    let mut wanted = vec![old.clone(), young.clone(), format!("{young}.txt"), "f".repeat(32), "other".to_owned()];
    wanted.sort();
    assert_eq!(sweep(&fixture), wanted, "a request still has it");
    drop(locked);
    wanted.retain(|name| *name != old);
    assert_eq!(sweep(&fixture), wanted);
    assert_eq!(fixture.read("etc/version.txt"), "1.2.3\n");
}

/// Who can write in the exchange directory cannot lead the program elsewhere.
#[test]
fn a_planted_folder_is_put_aside() {
    let fixture = Fixture::new();
    let elsewhere = fixture.root.join("elsewhere");
    for kind in ["link", "file", "open folder"] {
        fixture.reset();
        drop(fs::create_dir(&elsewhere));
        match kind {
            "link" => std::os::unix::fs::symlink(&elsewhere, folder(&fixture)).unwrap(),
            "file" => fs::write(folder(&fixture), "x").unwrap(),
            _ => {
                fs::create_dir(folder(&fixture)).unwrap();
                fs::set_permissions(folder(&fixture), fs::Permissions::from_mode(0o777)).unwrap();
            }
        }
        let list = send_with(command(&fixture, "GET", &format!("{UPLOADS}?token=yourtoken")), None).0;
        assert_eq!(list.text(), r#"{"uploads":[]}"#, "{kind}");
        let id = opened(&fixture, b"package", None);
        assert_eq!(kept(&fixture), [id.clone(), format!("{id}.txt")], "{kind}");
        assert_eq!(fs::symlink_metadata(folder(&fixture)).unwrap().permissions().mode() & 0o7777, 0o700, "{kind}");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "{kind}");
        assert!(fixture.uploads().iter().any(|name| name.starts_with(".aside-")), "{kind}");
    }
}

/// On a disk of 40 MiB, in a mount namespace: what one upload was promised, another one does not get.
#[test]
fn reserved_space_is_not_reserved_again() {
    let fixture = Fixture::new();
    let form = |length: u32| format!("for=update&length={length}");
    let script = format!(
        r#"set -eu
mount -t tmpfs -o size=40m,mode=0777 none "$JIDO_ADMIN_PATH/home/sftp/uploads"
ask() {{ # ask FORM
	printf %s "$1" | REQUEST_URI='{UPLOADS}?token=yourtoken' CONTENT_LENGTH=${{#1}} "$PROGRAM" | sed -n 's/^Status: \([0-9]*\).*/\1/p'
}}
ask '{}'
ask '{}'
rm -rf "$JIDO_ADMIN_PATH/home/sftp/uploads/.resumable"
ask '{}'
"#,
        form(30 << 20),
        form(20 << 20),
        form(20 << 20)
    );
    let mut shell = Command::new("unshare");
    shell.args(["-m", "sh", "-c", &script]).env("PROGRAM", env!("CARGO_BIN_EXE_jidoteki-admin-api"));
    for (name, value) in command(&fixture, "POST", "").get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.env("CONTENT_TYPE", "application/x-www-form-urlencoded");
    let output = shell.output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "201\n413\n201\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The disk is a file here, with ext4. A copy of it after each response has what a power cut at this moment leaves.
#[test]
fn acknowledged_bytes_are_on_the_disk_after_a_power_cut() {
    const PIECE: usize = 100_001;
    let fixture = Fixture::new();
    let bytes = content(5 * PIECE);
    let (disk, package, copy) = (fixture.root.join("disk"), fixture.root.join("package"), fixture.root.join("copy"));
    fs::write(&package, &bytes).unwrap();
    fs::create_dir(&copy).unwrap();
    let script = format!(
        r#"set -eu
PATH=$PATH:/usr/sbin:/sbin
uploads=$JIDO_ADMIN_PATH/home/sftp/uploads
truncate -s 16M "$DISK"
mkfs.ext4 -q "$DISK"
mount -o loop "$DISK" "$uploads"
ask() {{ # ask TARGET [NAME=VALUE...]: sends the bytes of standard input, and prints the value of the header WANTED
	target=$1
	shift
	env "$@" REQUEST_URI="{UPLOADS}$target?token=yourtoken" "$PROGRAM" | tr -d '\r' | sed -n "s/^$WANTED: //p"
}}
export WANTED=Location
id=$(printf 'for=update&length={length}' | ask '' CONTENT_LENGTH={form_length} CONTENT_TYPE=application/x-www-form-urlencoded)
id=${{id##*/}}
export WANTED=Upload-Offset REQUEST_METHOD=PATCH CONTENT_TYPE=application/partial-upload CONTENT_LENGTH={PIECE}
for n in 1 2 3 4; do
	offset=$((n * {PIECE} - {PIECE}))
	tail -c +$((offset + 1)) "$PACKAGE" | head -c {PIECE} | ask "/$id" HTTP_UPLOAD_OFFSET=$offset HTTP_UPLOAD_COMPLETE='?0'
	cp "$DISK" "$DISK.$n"
done
umount "$uploads"
for n in 1 2 3 4; do
	mount -o loop "$DISK.$n" "$COPY"
	readlink "$COPY/.resumable/$id.txt" | cut -d ' ' -f 2
	cmp -n $((n * {PIECE})) "$PACKAGE" "$COPY/.resumable/$id" || echo "piece $n differs"
	umount "$COPY"
done
"#,
        length = bytes.len(),
        form_length = format!("for=update&length={}", bytes.len()).len(),
    );
    let mut shell = Command::new("unshare");
    shell.args(["-m", "sh", "-c", &script]).env("PROGRAM", env!("CARGO_BIN_EXE_jidoteki-admin-api"));
    for (name, value) in command(&fixture, "POST", "").get_envs() {
        shell.env(name, value.unwrap());
    }
    let output = shell.env("DISK", &disk).env("PACKAGE", &package).env("COPY", &copy).output().unwrap();
    let offsets: String = (1..5).map(|n| format!("{}\n", n * PIECE)).collect();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        offsets.repeat(2),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The record of the one upload that is open.
fn record(fixture: &Fixture) -> Option<(PathBuf, u64)> {
    let name = kept(fixture).into_iter().find(|name| name.ends_with(".txt"))?;
    let text = fs::read_link(folder(fixture).join(&name)).ok()?;
    let offset = text.to_str()?.split(' ').nth(1)?.parse().ok()?;
    Some((folder(fixture).join(name.trim_end_matches(".txt")), offset))
}

/// Each client of docs/clients is killed in the middle, the server restarted, and the client started again.
fn check_clients(server: &str, port: u16) {
    let fixture = Fixture::new();
    let mut edge = Edge::start(&fixture, server, port);
    let bytes = content(5 * PIECE + 99);
    let package = fixture.root.join("package.enc");
    fs::write(&package, &bytes).unwrap();
    let url = format!("https://localhost:{port}");
    for (n, client) in ["resumable-upload.sh", "resumable_upload.py"].into_iter().enumerate() {
        let start = |certificate: PathBuf| {
            let mut child = Command::new(format!("{}/docs/clients/{client}", env!("CARGO_MANIFEST_DIR")))
                .args([&url, "update"])
                .arg(&package)
                .env("CACERT", certificate)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(b"yourtoken\n").unwrap();
            child
        };
        let mut child = start(edge.certificate());
        wait_until("a piece is there", || record(&fixture).is_some_and(|(_, offset)| offset > 0));
        // From here on no piece is taken.
        let (data, _) = record(&fixture).unwrap();
        let lock = OpenOptions::new().write(true).open(&data).unwrap();
        lock.lock().unwrap();
        let (_, offset) = record(&fixture).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        edge.restart();
        assert_eq!(record(&fixture), Some((data, offset)), "{client}");
        drop(lock);
        let output = start(edge.certificate()).wait_with_output().unwrap();
        let answer: String = String::from_utf8(output.stdout).unwrap().split_whitespace().collect();
        assert!(
            output.status.success() && answer.starts_with(r#"{"Status":"202Accepted""#),
            "{server} {client}: {answer}"
        );
        assert!(fs::read(fixture.path("home/sftp/uploads/software_package-zzz.enc")).unwrap() == bytes, "{client}");
        assert_eq!(fixture.calls(n + 1).len(), n + 1);
        assert!(!fixture.root.join("package.enc.upload").exists());
    }
}

#[test]
fn the_clients_continue_after_a_cut_through_nginx() {
    check_clients("nginx", 24031);
}

#[test]
fn the_clients_continue_after_a_cut_through_lighttpd() {
    check_clients("lighttpd", 24032);
}

/// A web server in front of the appliance, with a limit that the appliance does not know.
struct Front {
    nginx: Child,
    folder: PathBuf,
}

impl Front {
    fn start(fixture: &Fixture, edge: &Edge, port: u16, behind: u16, limit: &str) -> Front {
        let folder = fixture.root.join("front");
        fs::create_dir(&folder).unwrap();
        let certificate = edge.certificate();
        let (path, pair) = (folder.display(), certificate.parent().unwrap().display());
        let configuration = format!(
            "daemon off; master_process off; pid {path}/pid; error_log stderr crit; events {{}}
            http {{
                log_format short '$request_method $status'; access_log {path}/access short;
                client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi;
                uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
                server {{
                    listen 127.0.0.1:{port} ssl; ssl_certificate {pair}/appliance.pem; ssl_certificate_key {pair}/appliance.key;
                    client_max_body_size {limit};
                    location / {{ proxy_pass https://127.0.0.1:{behind}; proxy_set_header Host $host; }}
                }}
            }}"
        );
        fs::write(folder.join("conf"), configuration).unwrap();
        let mut nginx = Command::new("/usr/sbin/nginx");
        let nginx = nginx.args(["-e", "stderr", "-c"]).arg(folder.join("conf")).spawn().unwrap();
        let mut front = Front { nginx, folder };
        wait_until("the front answers", || {
            assert_eq!(front.nginx.try_wait().unwrap(), None, "its messages are above");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        front
    }

    /// Statuses of the requests with a method.
    fn statuses(&self, method: &str) -> Vec<String> {
        let log = fs::read_to_string(self.folder.join("access")).unwrap();
        log.lines().filter_map(|line| line.strip_prefix(method)).map(|status| status.trim().to_owned()).collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.nginx.kill());
        drop(self.nginx.wait());
    }
}

#[test]
fn the_clients_send_smaller_pieces_through_a_server_that_refuses_large_ones() {
    let fixture = Fixture::new();
    let edge = Edge::start(&fixture, "nginx", 24033);
    let bytes = content(PIECE + 99);
    let package = fixture.root.join("package.enc");
    fs::write(&package, &bytes).unwrap();
    for limit in ["3m", "300k"] {
        let front = Front::start(&fixture, &edge, 24034, 24033, limit);
        for client in ["resumable-upload.sh", "resumable_upload.py"] {
            let mut child = Command::new(format!("{}/docs/clients/{client}", env!("CARGO_MANIFEST_DIR")))
                .args(["https://localhost:24034", "update"])
                .arg(&package)
                .env("CACERT", edge.certificate())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(b"yourtoken\n").unwrap();
            let output = child.wait_with_output().unwrap();
            let answer: String = String::from_utf8(output.stdout).unwrap().split_whitespace().collect();
            assert!(
                output.status.success() && answer.starts_with(r#"{"Status":"202Accepted""#),
                "{limit} {client}: {answer} {}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(fs::read(fixture.path("home/sftp/uploads/software_package-zzz.enc")).unwrap() == bytes, "{client}");
            let statuses = front.statuses("PATCH");
            let n_refused = statuses.iter().filter(|status| *status == "413").count();
            // No piece of a refused size is sent again.
            assert!((1..=5).contains(&n_refused), "{limit} {client}: {statuses:?}");
            fs::write(front.folder.join("access"), "").unwrap();
        }
        drop(front);
        fs::remove_dir_all(fixture.root.join("front")).unwrap();
    }
}
