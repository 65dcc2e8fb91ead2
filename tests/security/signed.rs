//! Authentication beyond the old API: headers, signatures that work once, named tokens, and rate limits.

use crate::contract::cases::Answer;
use crate::contract::form;
use crate::contract::http::{Edge, command, send_with};
use crate::support::{CONFIG, Fixture, wait_until};
use base64ct::{Base64, Encoding};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

const VERSION: &str = "/api/v1/admin/version";
const GOOD: &str = r#"{"version":"1.2.3"}"#;

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A signed request, before a test changes it.
#[derive(Clone)]
pub struct Signed {
    pub method: &'static str,
    pub target: String,
    pub token: &'static str,
    pub created: u64,
    pub nonce: String,
    /// Additional components, with their values.
    pub covered: Vec<(&'static str, String)>,
    pub parameters: &'static str,
}

impl Signed {
    pub fn new(method: &'static str, target: &str, nonce: &str) -> Signed {
        Signed {
            method,
            target: target.to_owned(),
            token: "yourtoken",
            created: now(),
            nonce: format!("nonce-{nonce}"),
            covered: Vec::new(),
            parameters: "",
        }
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let mut names = "\"@method\" \"@path\" \"@query\"".to_owned();
        let mut base = format!("\"@method\": {}\n\"@path\": {path}\n\"@query\": ?{query}\n", self.method);
        for (name, value) in &self.covered {
            names.push_str(&format!(" \"{name}\""));
            base.push_str(&format!("\"{name}\": {value}\n"));
        }
        let input = format!("({names});created={};nonce=\"{}\"{}", self.created, self.nonce, self.parameters);
        base.push_str(&format!("\"@signature-params\": {input}"));
        let key = hex::encode(Sha256::digest(self.token));
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(base.as_bytes());
        let tag = Base64::encode_string(&mac.finalize().into_bytes());
        let mut headers =
            vec![("HTTP_SIGNATURE_INPUT", format!("sig={input}")), ("HTTP_SIGNATURE", format!("sig=:{tag}:"))];
        for (name, value) in &self.covered {
            match *name {
                "content-digest" => headers.push(("HTTP_CONTENT_DIGEST", value.clone())),
                "part-digest" => headers.push(("HTTP_PART_DIGEST", value.clone())),
                "upload-offset" => headers.push(("HTTP_UPLOAD_OFFSET", value.clone())),
                "upload-complete" => headers.push(("HTTP_UPLOAD_COMPLETE", value.clone())),
                _ => {}
            }
        }
        headers
    }

    pub fn send(&self, fixture: &Fixture, body: Option<(&str, Vec<u8>)>) -> Answer {
        send(fixture, self.method, &self.target, &self.headers(), body)
    }
}

fn send(
    fixture: &Fixture,
    method: &str,
    target: &str,
    headers: &[(&str, String)],
    body: Option<(&str, Vec<u8>)>,
) -> Answer {
    let mut command = command(fixture, method, target);
    command.envs(headers.iter().map(|(name, value)| (name, value)));
    send_with(command, body).0
}

pub fn base64_digest(bytes: &[u8]) -> String {
    Base64::encode_string(&Sha256::digest(bytes))
}

#[track_caller]
fn check_hint(answer: &Answer, hint: &str) {
    let text = answer.text();
    let (head, time) = text.split_once(",\"Server-Time\":\"").expect(&text);
    assert_eq!(
        head,
        format!("{{\"Status\":\"403 Forbidden\",\"Error-Message\":\"Authentication error\",\"Hint\":\"{hint}\"")
    );
    assert!(time.trim_end_matches("\"}").parse::<u64>().unwrap().abs_diff(now()) < 60, "{text}");
}

#[test]
fn a_token_may_come_in_a_header() {
    let fixture = Fixture::new();
    for (header, status) in [
        ("Bearer yourtoken", 200),
        ("bearer yourtoken", 200),
        ("Bearer wrong", 403),
        ("Basic yourtoken", 403),
        ("Bearer", 403),
    ] {
        let answer = send(&fixture, "GET", VERSION, &[("HTTP_AUTHORIZATION", header.to_owned())], None);
        assert_eq!(answer.status, status, "{header}");
    }
}

#[test]
fn a_signature_is_valid_once() {
    let fixture = Fixture::new();
    let signed = Signed::new("GET", VERSION, "once");
    assert_eq!(signed.send(&fixture, None).text(), GOOD);
    check_hint(&signed.send(&fixture, None), "The nonce was used before");
    assert_eq!(Signed::new("GET", VERSION, "twice").send(&fixture, None).text(), GOOD);
}

#[test]
fn a_signature_covers_the_components_it_lists() {
    let fixture = Fixture::new();
    let signed = Signed::new("GET", &format!("{VERSION}?a=1"), "covers");
    let headers = signed.headers();
    for (method, target) in [
        ("GET", VERSION.to_owned()),
        ("GET", format!("{VERSION}?a=2")),
        ("GET", format!("{VERSION}/?a=1")),
        ("HEAD", signed.target.clone()),
    ] {
        let answer = send(&fixture, method, &target, &headers, None);
        assert_eq!(answer.status, 403, "{method} {target}");
    }
    assert_eq!(signed.send(&fixture, None).text(), GOOD, "nothing of that has used the nonce up");
    let other = Signed { token: "othertoken", ..Signed::new("GET", VERSION, "other") };
    check_hint(&other.send(&fixture, None), "The signature does not match this request and a known token");
    let unknown = Signed { parameters: ";keyid=\"nobody\"", ..Signed::new("GET", VERSION, "unknown") };
    assert_eq!(unknown.send(&fixture, None).status, 403);
}

#[test]
fn a_signature_has_its_time() {
    let fixture = Fixture::new();
    for (created, is_good) in
        [(now() - 250, true), (now() + 250, true), (now() - 400, false), (now() + 400, false), (1, false)]
    {
        let signed = Signed { created, ..Signed::new("GET", VERSION, &format!("time-{created}")) };
        let answer = signed.send(&fixture, None);
        if is_good {
            assert_eq!(answer.text(), GOOD, "{created}");
        } else {
            check_hint(&answer, "The signature was not made within 300 seconds of Server-Time");
        }
    }
}

#[test]
fn a_signed_body_cannot_be_swapped() {
    let fixture = Fixture::new();
    let target = "/api/v1/admin/update";
    let (kind, body) = form::encode(&[("update", "package")]);
    let (_, other) = form::encode(&[("update", "malware")]);
    let whole = |nonce: &str, body: &[u8]| Signed {
        covered: vec![("content-type", kind.clone()), ("content-digest", format!("sha-256=:{}:", base64_digest(body)))],
        ..Signed::new("POST", target, nonce)
    };
    let fields = |nonce: &str, content: &str| Signed {
        covered: vec![("part-digest", format!("update=:{}:", base64_digest(content.as_bytes())))],
        ..Signed::new("POST", target, nonce)
    };
    check_hint(
        &Signed::new("POST", target, "bare").send(&fixture, Some((&kind, body.clone()))),
        "The signature must cover the body, by content-digest or part-digest",
    );
    check_hint(
        &whole("swapped", &body).send(&fixture, Some((&kind, other.clone()))),
        "The body is not the one that was signed",
    );
    check_hint(
        &fields("part", "package").send(&fixture, Some((&kind, other))),
        "The body is not the one that was signed",
    );
    let (more_kind, more) = form::encode(&[("update", "package"), ("token", "x")]);
    check_hint(
        &fields("more", "package").send(&fixture, Some((&more_kind, more))),
        "The body is not the one that was signed",
    );
    let confirm = Signed::new("POST", "/api/v1/admin/settings/confirm", "confirm");
    assert_eq!(confirm.send(&fixture, Some(("text/plain", b"x".to_vec()))).status, 403);
    assert_eq!((fixture.calls(0).len(), fixture.uploads()), (0, vec!["backup.tar".to_owned()]));

    assert_eq!(whole("good", &body).send(&fixture, Some((&kind, body.clone()))).status, 202);
    wait_until("the job has ended", || {
        fields(&format!("fields-{}", rand()), "package").send(&fixture, Some((&kind, body.clone()))).status == 202
    });
    assert_eq!(confirm.send(&fixture, Some(("", Vec::new()))).status, 200);
}

/// A different number each time.
fn rand() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

#[test]
fn signed_requests_need_a_place_to_remember_nonces() {
    let fixture = Fixture::new();
    fs::remove_dir(fixture.path("state")).unwrap();
    check_hint(
        &Signed::new("GET", VERSION, "nowhere").send(&fixture, None),
        "Signed requests are not available on this appliance",
    );
}

#[test]
fn named_tokens_have_a_scope_and_an_end() {
    let fixture = Fixture::new();
    let key = |name: &str, scope: &str, expires: u64| {
        format!(
            r#"{{"name":"{name}","scope":"{scope}","expires":{expires},"verifier":"{}"}}"#,
            hex::encode(Sha256::digest(format!("{name}-token")))
        )
    };
    let (later, past) = (now() + 1000, now() - 1);
    let keys = [
        key("viewer", "read", later),
        key("ops", "operate", later),
        key("root", "admin", later),
        key("old", "admin", past),
    ];
    fixture.write("etc/api.tokens.json", &format!("{{\"tokens\":[{}]}}", keys.join(",")));
    let ask = |token: &str, method: &str, target: &str| {
        send(&fixture, method, target, &[("HTTP_AUTHORIZATION", format!("Bearer {token}"))], Some(("", Vec::new())))
            .status
    };
    for (token, version, logs, storage) in [
        ("viewer-token", 200, 403, 403),
        ("ops-token", 200, 200, 403),
        ("root-token", 200, 200, 200),
        ("old-token", 403, 403, 403),
        ("yourtoken", 200, 200, 200),
    ] {
        assert_eq!(
            [
                ask(token, "GET", VERSION),
                ask(token, "GET", "/api/v1/admin/logs"),
                ask(token, "GET", "/api/v1/admin/storage")
            ],
            [version, logs, storage],
            "{token}"
        );
    }
    assert_eq!(ask("viewer-token", "POST", "/api/v1/admin/settings/confirm"), 403);
    let refused =
        send(&fixture, "GET", "/api/v1/admin/storage", &[("HTTP_AUTHORIZATION", "Bearer ops-token".to_owned())], None);
    assert_eq!(
        refused.text(),
        r#"{"Status":"403 Forbidden","Error-Message":"This token may not do that: it needs the scope admin"}"#
    );
    assert!(
        fixture.audit().iter().any(|line| line == "logs.get,\"logs.tar.gz\",\"192.0.2.7\",\"ops\""),
        "{:?}",
        fixture.audit()
    );

    // The old ways work with named tokens too, and so do signatures.
    assert_eq!(ask("", "GET", &format!("{VERSION}?token=viewer-token")), 200);
    let signed =
        Signed { token: "viewer-token", parameters: ";keyid=\"viewer\"", ..Signed::new("GET", VERSION, "named") };
    assert_eq!(signed.send(&fixture, None).text(), GOOD);
    let unnamed = Signed { token: "viewer-token", ..Signed::new("GET", VERSION, "unnamed") };
    assert_eq!(unnamed.send(&fixture, None).text(), GOOD);
    for broken in [
        "{",
        r#"{"tokens":[{"name":"x","scope":"admin","verifier":""}]}"#,
        r#"{"tokens":[{"name":"x","scope":"god","verifier":""}]}"#,
    ] {
        fixture.write("etc/api.tokens.json", broken);
        assert_eq!(
            (ask("viewer-token", "GET", VERSION), ask("yourtoken", "GET", VERSION), ask("", "GET", VERSION)),
            (403, 200, 403),
            "{broken}"
        );
    }
}

#[test]
fn credentials_in_the_query_can_be_deprecated_and_refused() {
    let fixture = Fixture::new();
    let query = format!("{VERSION}?token=yourtoken");
    fixture.write("usr/jidoteki-admin-api.json", r#"{"legacy":"warn"}"#);
    let answer = send(&fixture, "GET", &query, &[], None);
    assert_eq!(
        (answer.status, answer.header("Warning").as_str()),
        (200, "299 - \"Credentials in the query or the form are deprecated\"")
    );
    assert_eq!(fixture.audit(), ["token.legacy.used,\"api/v1/admin/version\",\"192.0.2.7\",\"admin\""]);

    fixture.write("usr/jidoteki-admin-api.json", r#"{"legacy":"deny"}"#);
    check_hint(
        &send(&fixture, "GET", &query, &[], None),
        "Credentials in the query or the form are not accepted: sign the request, or send Authorization: Bearer",
    );
    let (kind, body) = form::encode(&[("update", "x"), ("token", "yourtoken")]);
    assert_eq!(send(&fixture, "POST", "/api/v1/admin/update", &[], Some((&kind, body))).status, 403);
    assert_eq!(
        send(&fixture, "GET", VERSION, &[("HTTP_AUTHORIZATION", "Bearer yourtoken".to_owned())], None).status,
        200
    );
}

#[test]
fn a_client_that_guesses_too_often_must_wait_and_no_other() {
    let fixture = Fixture::new();
    fixture.write("usr/jidoteki-admin-api.json", r#"{"refusals-per-minute":5}"#);
    let guess = |address: &str| {
        send(&fixture, "GET", &format!("{VERSION}?token=wrong"), &[("REMOTE_ADDR", address.to_owned())], None)
    };
    // A minute can end in the middle.
    let mut waiting = guess("192.0.2.9");
    for _ in 0..40 {
        waiting = guess("192.0.2.9");
    }
    assert_eq!(waiting.status, 429, "{}", waiting.text());
    assert!((1..=60).contains(&waiting.header("Retry-After").parse::<u32>().unwrap()));
    assert!(
        (5..=20).contains(&fixture.audit().len()),
        "what is beyond the budget is not written down: {:?}",
        fixture.audit()
    );
    assert_eq!(guess("192.0.2.10").status, 403, "another source has a budget of its own");
    let valid =
        send(&fixture, "GET", &format!("{VERSION}?token=yourtoken"), &[("REMOTE_ADDR", "192.0.2.9".to_owned())], None);
    assert_eq!(valid.text(), GOOD, "a valid credential is never told to wait");
    // An IPv6 client can use any address in its /64.
    (0..12).for_each(|n| drop(guess(&format!("2001:db8::{n:x}"))));
    assert_eq!(guess("2001:db8::ffff").status, 429);
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let fixture = Fixture::new();
    let headers =
        |site: &str| [("HTTP_SEC_FETCH_SITE", site.to_owned()), ("HTTP_AUTHORIZATION", "Bearer yourtoken".to_owned())];
    for (method, target, site, status) in [
        ("GET", "/api/v1/admin/reboot", "cross-site", 403),
        ("POST", "/api/v1/admin/settings/confirm", "cross-site", 403),
        ("GET", VERSION, "cross-site", 200),
        ("POST", "/api/v1/admin/settings/confirm", "same-origin", 200),
    ] {
        assert_eq!(
            send(&fixture, method, target, &headers(site), Some(("", Vec::new()))).status,
            status,
            "{method} {target} {site}"
        );
    }
    assert_eq!(fixture.calls(1), ["settings confirm"]);
}

#[test]
fn an_unclaimed_appliance_is_claimed_by_its_own_name_only() {
    let fixture = Fixture::new();
    let kernels = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    fixture.write("usr/jidoteki-admin-api.json", r#"{"hosts":["box.example"]}"#);
    let claim = |host: &str| {
        fixture.remove("etc/api.token");
        let (kind, body) = form::encode(&[("newtoken", "mine")]);
        send(&fixture, "POST", "/api/v1/admin/setup", &[("HTTP_HOST", host.to_owned())], Some((&kind, body))).status
    };
    for host in ["localhost:8443", "192.0.2.1", "[fe80::1]:8443", "box.example:8443", kernels.trim(), ""] {
        assert_eq!(claim(host), 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example:8443", "x192.0.2.1"] {
        assert_eq!(claim(host), 403, "{host}");
    }
}

#[test]
fn the_time_in_which_an_appliance_can_be_claimed_may_be_limited() {
    let fixture = Fixture::new();
    let claim = |target: &str| {
        let (kind, body) = form::encode(&[("newtoken", "mine")]);
        send(&fixture, "POST", target, &[("HTTP_HOST", "localhost".to_owned())], Some((&kind, body)))
    };
    fixture.remove("etc/api.token");
    fixture.write("usr/jidoteki-admin-api.json", r#"{"setup-minutes":0}"#);
    let answer = claim("/api/v1/admin/setup");
    assert_eq!((answer.status, answer.text().contains("The time to claim this appliance is over")), (403, true));
    assert_eq!(fixture.read("record/calls"), "", "nothing was set");
    // Longer than any machine has been up.
    fixture.write("usr/jidoteki-admin-api.json", r#"{"setup-minutes":1000000000}"#);
    assert_eq!(claim("/api/v1/admin/setup").status, 200);
    // A caller with the token is not affected.
    fixture.write("usr/jidoteki-admin-api.json", r#"{"setup-minutes":0}"#);
    assert_eq!(claim("/api/v1/admin/setup?token=mine").status, 200);
}

#[test]
fn restarting_by_get_can_be_turned_off() {
    let fixture = Fixture::new();
    let ask =
        |method: &str| send(&fixture, method, "/api/v1/admin/reboot?token=yourtoken", &[], Some(("", Vec::new())));
    fixture.write("usr/jidoteki-admin-api.json", r#"{"reboot":"post"}"#);
    assert_eq!(
        ask("GET").text(),
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid authentication method. Expected POST"}"#
    );
    assert_eq!(ask("POST").status, 202);
    fixture.write("usr/jidoteki-admin-api.json", CONFIG);
}

#[test]
fn the_clients_in_the_documents_work_through_both_servers() {
    for (server, port) in [("nginx", 24021), ("lighttpd", 24022)] {
        let fixture = Fixture::new();
        let edge = Edge::start(&fixture, server, port);
        let run = |client: &str, arguments: &[&str]| {
            let mut child = Command::new(format!("{}/docs/clients/{client}", env!("CARGO_MANIFEST_DIR")))
                .args(arguments)
                .env("CACERT", edge.certificate())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(b"yourtoken\n").unwrap();
            String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim_end().to_owned()
        };
        let url = |path: &str| format!("https://localhost:{port}/api/v1/admin{path}");
        assert_eq!(run("signed-request.sh", &["GET", &url("/version")]), GOOD, "{server}");
        assert_eq!(
            run("signed-request.sh", &["GET", &url("/health/history?range=1w")]),
            r#"{"range":"1w"}"#,
            "{server}"
        );
        let accepted = run("signed-request.sh", &["POST", &url("/backup"), "action=START"]);
        assert!(
            accepted.starts_with(r#"{"Status":"202 Accepted","Location":"/api/v1/admin/backup","Job":""#),
            "{server}: {accepted}"
        );
        let package = fixture.path("package");
        fs::write(&package, vec![b'x'; 300_000]).unwrap();
        let accepted = run("signed_upload.py", &[&url("/update"), "update", package.to_str().unwrap()]);
        assert!(
            accepted.starts_with(r#"{"Status":"202 Accepted","Location":"/api/v1/admin/update","Job":""#),
            "{server}: {accepted}"
        );
        assert_eq!(fs::read(fixture.path("home/sftp/uploads/software_package-zzz.enc")).unwrap().len(), 300_000);
    }
}

#[test]
fn the_hook_for_acme_clients_posts_the_new_certificate_and_waits_for_the_result() {
    let fixture = Fixture::new();
    let edge = Edge::start(&fixture, "nginx", 24023);
    // Certificates as in certbot's directory, issued by our own CA.
    fixture.write("token", "yourtoken\n");
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 9
        openssl req -new -newkey rsa:2048 -nodes -keyout privkey.pem -subj /CN=box -out box.csr
        openssl x509 -req -in box.csr -CA ca.pem -CAkey ca.key -days 9 -out cert.pem; cat cert.pem ca.pem >fullchain.pem";
    let made = Command::new("sh").args(["-ec", script]).current_dir(fixture.admin()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let read = |name: &str| fixture.read(name);
    let path = |name: &str| fixture.path(name).to_str().unwrap().to_owned();
    let (chain, key) = (path("fullchain.pem"), path("privkey.pem"));
    let both = read("fullchain.pem") + &read("privkey.pem");
    // As the head of the file tells people to call it; clients renew with hardly any variable of their own.
    let run_trusting = |cacert: &str, arguments: &[&str], variables: &[(&str, &str)]| {
        Command::new("env")
            .arg("JIDOTEKI_URL=https://localhost:24023")
            .arg(format!("JIDOTEKI_TOKEN_FILE={}", path("token")))
            .arg(format!("CACERT={cacert}"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/clients/deploy-certificate.sh"))
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TMPDIR", path("temporary"))
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    };
    let own = edge.certificate().to_str().unwrap().to_owned();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| run_trusting(&own, arguments, variables);
    fs::create_dir(fixture.path("temporary")).unwrap();
    fixture.write("result", "success\n");
    let admin = fixture.admin().to_str().unwrap().to_owned();
    let (nothing, alone, issuer) = (path("nothing"), path("cert.pem"), path("ca.pem"));
    // The variables that each client sets.
    let certbot = [("RENEWED_LINEAGE", admin.as_str()), ("RENEWED_DOMAINS", "box")];
    let acme_sh = [
        ("CERT_PATH", &*alone),
        ("CERT_KEY_PATH", &*key),
        ("CA_CERT_PATH", &*issuer),
        ("CERT_FULLCHAIN_PATH", &*chain),
        ("Le_Domain", "box"),
    ];
    let lego_4 = |chain| {
        [
            ("LEGO_ACCOUNT_EMAIL", "a@box"),
            ("LEGO_CERT_DOMAIN", "box"),
            ("LEGO_CERT_PATH", chain),
            ("LEGO_CERT_KEY_PATH", &*key),
            ("LEGO_CERT_PEM_PATH", &*nothing),
        ]
    };
    let lego_5 = [
        ("LEGO_HOOK_CERT_NAME", "box"),
        ("LEGO_HOOK_CERT_PATH", &*chain),
        ("LEGO_HOOK_CERT_KEY_PATH", &*key),
        ("LEGO_HOOK_ISSUER_CERT_PATH", &*nothing),
    ];
    for (name, arguments, variables) in [
        ("certbot", &[][..], &certbot[..]),
        ("acme.sh", &[], &acme_sh),
        ("lego 4", &[], &lego_4(&chain)),
        ("lego 5", &[], &lego_5),
        ("by hand", &[&*chain, &*key], &[]),
    ] {
        fixture.remove("record/pair");
        let output = run(arguments, variables);
        assert!(output.status.success(), "{name}: {output:?}");
        assert_eq!(read("record/pair"), both, "{name}");
    }
    // lego with --no-bundle.
    fixture.write("box.crt", &read("cert.pem"));
    fixture.write("box.issuer.crt", &read("ca.pem"));
    let output = run(&[], &lego_4(&path("box.crt")));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(read("record/pair"), read("cert.pem") + &read("privkey.pem") + &read("ca.pem"));
    fixture.remove("home/sftp/uploads/ca.pem");
    // Without a key, while a request of the appliance is pending.
    fixture.write("etc/certs_request.pem", "request\n");
    for (arguments, variables) in
        [(&[&*chain][..], &[][..]), (&[], &[("LEGO_CERT_PATH", &*chain), ("LEGO_CERT_KEY_PATH", &*nothing)])]
    {
        let output = run(arguments, variables);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(read("record/pair"), read("fullchain.pem"));
    }
    // The certificate that the appliance shows afterwards is trusted as well as the one before. Nothing is left behind.
    let output = run_trusting(&issuer, &[&own], &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_dir(fixture.path("temporary")).unwrap().count(), 0);
    let output = run_trusting(&issuer, &[&chain], &[]);
    assert!(!output.status.success(), "{output:?}");
    fixture.write("result", "failed\n");
    let output = run(&[&chain], &[]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("failed"), "{output:?}");
    fixture.write("token", "wrong\n");
    let output = run(&[&chain], &[]);
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Authentication error") && !said.contains("wrong"), "{said}");
}
