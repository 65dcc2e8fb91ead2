//! Every spelling of a path, over HTTP/1.1 and HTTP/2, with every kind of credential, through both servers: only one
//! spelling is the route, no spelling is a way around authentication, and each request has one answer.

use super::world::{self, Headers, World, for_each, on_both};
use crate::contract::cases::Answer;
use jidoteki_admin_api::endpoints::routes::ROUTES;

const ROUTE: &str = "/api/v1/admin/version";
const CONTENT: &str = "1.2.3";

/// Spellings that are the route, or come close to it.
fn spellings() -> Vec<(Vec<u8>, bool)> {
    let mut spellings: Vec<(Vec<u8>, bool)> = vec![(ROUTE.into(), true), (format!("{ROUTE}/").into(), true)];
    for text in [
        // Doubled, dotted.
        "/api/v1/admin/version//",
        "//api/v1/admin/version",
        "/api//v1/admin/version",
        "/api/v1/admin//version",
        "/./api/v1/admin/version",
        "/api/./v1/admin/version",
        "/api/v1/admin/./version",
        "/api/v1/admin/version/.",
        "/api/v1/admin/version/./",
        "/api/v1/admin/version/..",
        "/api/v1/admin/version/../version",
        "/api/v1/admin/x/../version",
        "/api/../api/v1/admin/version",
        "/docs/../api/v1/admin/version",
        "/index.html/../api/v1/admin/version",
        "/_files/../api/v1/admin/version",
        "/_error/../api/v1/admin/version",
        "/../api/v1/admin/version",
        "/api/v1/admin/version/../../../../../etc/passwd",
        "/api/v1/admin/.../version",
        // Encoded, once and more often.
        "/%61pi/v1/admin/version",
        "/api/v1/admin/%76ersion",
        "/api/v1/admin/%2576ersion",
        "/api%2fv1/admin/version",
        "/api/v1/admin%2Fversion",
        "/api/v1/admin/version%2f",
        "/api/v1/admin/version%2f..%2fversion",
        "/api/v1/admin/%2e/version",
        "/api/v1/admin/x/%2e%2e/version",
        "/api/v1/admin/x/%252e%252e/version",
        "/api/v1/admin/x/..%2fversion",
        "/api/v1/admin/version%00",
        "/api/v1/admin/version%00.json",
        "/api/v1/admin/version%0a",
        "/api/v1/admin/version%0d%0aX:%20y",
        "/api/v1/admin/version%20",
        "/api/v1/admin/version%3f",
        "/api/v1/admin/version%23",
        "/api/v1/admin/version%3b",
        "/api/v1/admin/version%c0%af",
        "/api/v1/admin/%c1%b6ersion",
        "/api/v1/admin/version%",
        "/api/v1/admin/version%zz",
        "/api/v1/admin/version%u002f",
        "/api/v1/admin/version%ff",
        // Parameters, other separators, fragments.
        "/api/v1/admin/version;",
        "/api/v1/admin/version;x=y",
        "/api/v1/admin;x/version",
        "/api/v1/admin/x;/../version",
        "/api\\v1\\admin\\version",
        "/api/v1/admin/version\\",
        "/api/v1/admin/x\\..\\version",
        "/api/v1/admin/version#",
        "/api/v1/admin/version#x",
        "/api/v1/admin/version:8443",
        "/api/v1/admin/version@x",
        "/api/v1/admin/version*",
        "/api/v1/admin/version~",
        // Cut, extended, another case.
        "/api/v1/admin/versio",
        "/api/v1/admin/ersion",
        "/api/v1/admin/versionx",
        "/api/v1/admin/version.json",
        "/api/v1/admin/version.l",
        "/api/v1/admin/version/default",
        "/api/v1/admin/version/index.l",
        "/api/v1/adminversion",
        "/api/v1/admin/",
        "/api/v1/admin",
        "/api/v1/",
        "/api/",
        "/api",
        "/api/v2/admin/version",
        "/v1/admin/version",
        "/version",
        "/API/v1/admin/version",
        "/api/V1/admin/version",
        "/api/v1/Admin/version",
        "/api/v1/admin/Version",
        "/api/v1/admin/VERSION",
        "/docs/api/v1/admin/version",
        "/_files/backup.tar",
        "/_files/../etc/api.token",
        "/_error/413",
        "api/v1/admin/version",
        "*",
    ] {
        spellings.push((text.into(), false));
    }
    for bytes in [
        &b"/api/v1/admin/ver\0sion"[..],
        b"/api/v1/admin/version\0",
        b"/api/v1/admin/version\n",
        b"/api/v1/admin/ver\nsion",
        b"/api/v1/admin/version\r",
        b"/api/v1/admin/version\t",
        b"/api/v1/admin/version\x0b",
        b"/api/v1/admin/version\x7f",
        b"/api/v1/admin/version\x80",
        b"/api/v1/admin/version\xc0\xaf",
        b"/api/v1/admin/version\xff",
        "/api/v1/admin/versi\u{f6}n".as_bytes(),
        "/api/v1/admin/\u{ff56}ersion".as_bytes(),
        "/api/v1/admin/version\u{202e}".as_bytes(),
    ] {
        spellings.push((bytes.to_vec(), false));
    }
    for (byte, n) in [(b'a', 8000), (b'a', 8 << 10), (b'/', 8000), (b'.', 8000), (b'%', 8000), (b'a', 40_000)] {
        spellings.push(([ROUTE.as_bytes(), b"/", &vec![byte; n]].concat(), false));
    }
    spellings.push((["/../".repeat(1000).as_str(), ROUTE].concat().into(), false));
    spellings.push((format!("/{}api/v1/admin/version", "x/../".repeat(1000)).into(), false));
    spellings
}

/// What a request shows: a query, headers, and whether that is good for the route spelt as it is.
struct Shown {
    name: &'static str,
    query: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    is_good: bool,
}

fn shown(path: &[u8]) -> Vec<Shown> {
    let shown = |name, query: String, headers, is_good| Shown { name, query, headers, is_good };
    vec![
        shown("nothing", String::new(), Vec::new(), false),
        shown("token", "?token=yourtoken".to_owned(), Vec::new(), true),
        shown("hash of the path as sent", format!("?hash={}", world::hash(path)), Vec::new(), true),
        shown("hash of the route", format!("?hash={}", world::hash(ROUTE.as_bytes())), Vec::new(), true),
        shown("header", String::new(), vec![("authorization", b"Bearer yourtoken".to_vec())], true),
        shown("signature over the path as sent", String::new(), world::signature(path).to_vec(), true),
        shown(
            "signature over the route",
            String::new(),
            world::signature(ROUTE.as_bytes()).to_vec(),
            path == ROUTE.as_bytes(),
        ),
        shown("wrong token", "?token=wrong".to_owned(), Vec::new(), false),
        shown(
            "empty key",
            "?hash=99256a631b6a3ecae8c503dfffab1e1c8fe91100f3dddb24a1f24f30907618da".to_owned(),
            Vec::new(),
            false,
        ),
    ]
}

/// The requests of all that can be shown, one behind the other.
fn http1(path: &[u8], shown: &[Shown]) -> Vec<u8> {
    let mut requests = Vec::new();
    for shown in shown {
        requests.extend([b"GET ", path, shown.query.as_bytes(), b" HTTP/1.1\r\nHost: localhost\r\n"].concat());
        for (name, value) in &shown.headers {
            requests.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        requests.extend(b"\r\n");
    }
    // Shows where the last answer ends.
    requests.extend(b"GET /docs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    requests
}

fn is_sentinel(answer: &Answer) -> bool {
    answer.status == 200 && answer.header("content-type").starts_with("text/html")
}

#[track_caller]
fn check_http1(world: &World, path: &[u8], is_route: bool, shown: &[Shown]) {
    let what = format!("{}: {}", world.server, path[..path.len().min(80)].escape_ascii());
    let answers = world.talk(&http1(path, shown));
    // A server that refuses by itself closes the connection at the first, and it does not look at what else was shown.
    let is_cut = answers.len() < shown.len() + 1;
    // A line end in the path makes a request of HTTP/0.9, which has no answer.
    let is_silent = answers.is_empty() && path.contains(&b'\n');
    assert!(is_silent || (1..=shown.len() + 1).contains(&answers.len()), "{what}: {} answers", answers.len());
    assert!(is_cut || is_sentinel(&answers[shown.len()]), "{what}: an answer too many");
    assert!(!(is_cut && is_route), "{what}: the connection was closed");
    for (answer, shown) in answers.iter().zip(shown) {
        let what = format!("{what} with {}: {} {}", shown.name, answer.status, answer.text());
        let wanted = match (is_route, shown.is_good) {
            (true, true) => 200..=200,
            (true, false) => 403..=403,
            (false, _) => 400..=499,
        };
        assert!(wanted.contains(&answer.status), "{what}");
        assert_eq!(answer.text().contains(CONTENT), is_route && shown.is_good, "{what}");
        // Whoever shows something is told no more of what is not there.
        assert!(is_route || answer.status == answers[0].status, "{what}, but {} otherwise", answers[0].status);
        if answer.status != 200 {
            assert!(answer.text().starts_with("{\"Status\":\""), "{what}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
        }
    }
}

fn check_h2(world: &World, path: &[u8], is_route: bool, shown: &[Shown]) {
    let targets: Vec<Vec<u8>> = shown.iter().map(|shown| [path, shown.query.as_bytes()].concat()).collect();
    let requests: Vec<Headers<'_>> = shown
        .iter()
        .zip(&targets)
        .map(|(shown, target)| {
            let mut headers: Headers<'_> =
                vec![(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", target)];
            headers.extend(shown.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())));
            headers
        })
        .collect();
    for (answer, shown) in world.talk_h2(&requests, None).iter().zip(shown) {
        let text = answer.text();
        let what = format!(
            "{}, HTTP/2: {} with {}: {text}",
            world.server,
            path[..path.len().min(80)].escape_ascii(),
            shown.name
        );
        assert!(answer.n_heads <= 1, "{what}");
        assert_eq!(text.contains(CONTENT), is_route && shown.is_good, "{what}");
        assert!(!text.starts_with("{\"Status\":\"5"), "{what}");
        assert!(!is_route || shown.is_good || text.starts_with("{\"Status\":\"403 "), "{what}");
    }
}

#[test]
fn one_spelling_is_the_route_and_none_is_a_way_around_authentication() {
    on_both(|world| {
        for_each(&spellings(), |(path, is_route)| {
            check_http1(world, path, *is_route, &shown(path));
            // Signatures are good for once, so these are new ones.
            if world.speaks_h2() {
                check_h2(world, path, *is_route, &shown(path));
            }
        });
        world.check_untouched("paths");
    });
}

#[test]
fn a_request_target_may_be_a_whole_url_and_the_host_in_it_opens_nothing() {
    on_both(|world| {
        for (target, status) in [
            ("https://localhost/api/v1/admin/version", 403),
            ("https://localhost/api/v1/admin/version?token=yourtoken", 200),
            ("https://evil.example/api/v1/admin/version", if world.server == "nginx" { 403 } else { 400 }),
            ("https://localhost/api/v1/admin/%76ersion?token=yourtoken", 404),
            ("https://localhost//api/v1/admin/version?token=yourtoken", 404),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let answers = world.talk(request.as_bytes());
            let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            assert_eq!(statuses, [status], "{}: {target}", world.server);
        }
    });
}

#[test]
fn no_route_answers_a_request_without_a_credential_by_any_method() {
    on_both(|world| {
        let routes: Vec<_> = ROUTES.iter().filter(|route| route.path != "/docs").collect();
        const METHODS: [&str; 10] =
            ["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "TRACE", "get", "GETX", "CONNECT"];
        for_each(&routes, |route| {
            for method in METHODS {
                let what = format!("{}: {method} {}", world.server, route.path);
                let request = format!(
                    "{method} {}?token=wrong HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    route
                        .path
                        .replace("{id}", "8a1c6f0b2d3e4f50")
                        .replace("{upload}", "8a1c6f0b2d3e4f508a1c6f0b2d3e4f50")
                );
                let answers = world.talk(request.as_bytes());
                assert_eq!(answers.len(), 1, "{what}");
                let status = answers[0].status;
                let is_served = matches!(method, "GET" | "POST");
                let is_refused = if is_served { status == 403 } else { matches!(status, 400..=499 | 501) };
                assert!(is_refused, "{what}: {status} {}", answers[0].text());
            }
        });
        world.check_untouched("methods");
    });
}
