//! One table of requests and responses. `http.rs` runs it against the executable and through both web servers.

use crate::support::{CONFIG, Fixture};

/// The body of a request.
#[derive(Clone, Copy)]
pub enum Body {
    None,
    /// A form with these fields.
    Form(&'static [(&'static str, &'static str)]),
    /// A body with this content type.
    Raw(&'static str, &'static [u8]),
}

pub struct Case {
    pub name: &'static str,
    /// Files that differ from the defaults; `None` for a missing file.
    pub given: &'static [(&'static str, Option<&'static str>)],
    pub method: &'static str,
    pub target: &'static str,
    pub body: Body,
    pub status: u16,
    /// The complete body of the response.
    pub answer: &'static str,
    /// Jobs that must have been called.
    pub jobs: &'static [&'static str],
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The values of a header, joined, so that a repeated header shows.
    pub fn header(&self, name: &str) -> String {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        values.join(" AND ")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text without the job id of a 202, which differs each time.
    pub fn text_without_job(&self) -> String {
        let text = self.text();
        // An upload's id is random, too.
        if let Some((before, id)) = text.split_once("/uploads/").filter(|_| self.status == 201) {
            let id = &id[..32];
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{before}");
            return text.replace(id, "ID");
        }
        if self.status != 202 {
            return text;
        }
        let (before, id) = text.split_once(",\"Job\":\"").unwrap_or_else(|| panic!("a 202 has a job: {text}"));
        assert!(id.len() == 18 && id.ends_with("\"}"), "a job has an id of 16 digits: {text}");
        format!("{before}}}")
    }
}

const NOTHING: &[(&str, Option<&str>)] = &[];
const BAD_TOKEN: &str = r#"{"Status":"403 Forbidden","Error-Message":"Authentication error"}"#;
const NOT_FOUND: &str = r#"{"Status":"404 Not Found"}"#;
const DONE: &str = r#"{"Status":"200 OK"}"#;

const fn get(name: &'static str, target: &'static str, status: u16, answer: &'static str) -> Case {
    Case { name, given: NOTHING, method: "GET", target, body: Body::None, status, answer, jobs: &[] }
}

const fn post(
    name: &'static str,
    target: &'static str,
    body: Body,
    status: u16,
    answer: &'static str,
    jobs: &'static [&'static str],
) -> Case {
    Case { name, given: NOTHING, method: "POST", target, body, status, answer, jobs }
}

const fn given(given: &'static [(&'static str, Option<&'static str>)], case: Case) -> Case {
    Case { given, ..case }
}

const STATIC: &str = r#"{"network":{"interface":"eth0","hostname":"test.host","ip_address":"10.0.0.2","netmask":"/8","gateway":"10.0.0.1"}}"#;
const DHCP: &str = r#"{"network":{"interface":"eth0","hostname":"test.host"},"app":{"n":1.0}}"#;
const FIRST_RUN: &str = r#"{"first-run":{"word-length":4,"enabled":true}}"#;

/// Two named tokens: `monitor`, and one that has ended.
const NAMED: &[(&str, Option<&str>)] = &[(
    "etc/api.tokens.json",
    Some(
        r#"{"tokens":[{"name":"monitoring","scope":"read","verifier":"7de97367c9cdc3c6db31aa114057b65cea1a7bafc71cf0595a2931011526a0a3"},{"name":"old","scope":"operate","expires":1000000000,"verifier":"0000000000000000000000000000000000000000000000000000000000000000"}]}"#,
    ),
)];

/// Sorted by topic.
pub const CASES: &[Case] = &[
    // Authentication.
    get("the token opens", "/api/v1/admin/version?token=yourtoken", 200, r#"{"version":"1.2.3"}"#),
    get(
        "the tag of the document opens",
        "/api/v1/admin/version?hash=b714a60732e096ccef06e360eefe0f1ba4fa5d16ef7da726612e2026e5523241",
        200,
        r#"{"version":"1.2.3"}"#,
    ),
    get(
        "a tag opens the path with its slash too",
        "/api/v1/admin/version/?hash=b714a60732e096ccef06e360eefe0f1ba4fa5d16ef7da726612e2026e5523241",
        200,
        r#"{"version":"1.2.3"}"#,
    ),
    get(
        "a tag opens no other path",
        "/api/v1/admin/build?hash=b714a60732e096ccef06e360eefe0f1ba4fa5d16ef7da726612e2026e5523241",
        403,
        BAD_TOKEN,
    ),
    get("there is no job yet", "/api/v1/admin/jobs?token=yourtoken", 200, r#"{"jobs":[]}"#),
    get("a job that never was", "/api/v1/admin/jobs/0123456789abcdef?token=yourtoken", 404, NOT_FOUND),
    get("a job of that name is no path", "/api/v1/admin/jobs/update?token=yourtoken", 404, NOT_FOUND),
    get("a wrong tag wins over a good token", "/api/v1/admin/version?token=yourtoken&hash=00", 403, BAD_TOKEN),
    get(
        "the last of two tokens counts",
        "/api/v1/admin/version?token=wrong&token=yourtoken",
        200,
        r#"{"version":"1.2.3"}"#,
    ),
    get("nothing shown opens nothing", "/api/v1/admin/version", 403, BAD_TOKEN),
    given(
        &[("etc/api.token", None)],
        get(
            "the tag of an empty token opens nothing",
            "/api/v1/admin/version?hash=99256a631b6a3ecae8c503dfffab1e1c8fe91100f3dddb24a1f24f30907618da",
            403,
            BAD_TOKEN,
        ),
    ),
    given(
        &[("etc/api.token", Some("\n"))],
        get("an empty token file opens nothing", "/api/v1/admin/version?token=", 403, BAD_TOKEN),
    ),
    given(
        &[
            ("usr/jidoteki-admin-api.json", Some(FIRST_RUN)),
            ("etc/api.token", Some("one-two\n")),
            ("etc/api.token.setup", Some("one-two\n")),
        ],
        get(
            "a pending first run keeps all shut",
            "/api/v1/admin/version?token=one-two",
            403,
            r#"{"Status":"403 Forbidden","Error-Message":"Authentication error","First-Run":true}"#,
        ),
    ),
    given(
        &[("usr/jidoteki-admin-api.json", Some(FIRST_RUN)), ("etc/api.token.setup", Some(""))],
        get(
            "a first run that is over says so",
            "/api/v1/admin/version",
            403,
            r#"{"Status":"403 Forbidden","Error-Message":"Authentication error","First-Run":false}"#,
        ),
    ),
    // Paths and methods.
    get("an unknown path is told before authentication", "/api/v1/admin/nothere", 404, NOT_FOUND),
    get("a path has one spelling", "/api/v1/admin/%76ersion?token=yourtoken", 404, NOT_FOUND),
    get("a path is not made straight", "/api/v1/admin/./version?token=yourtoken", 404, NOT_FOUND),
    given(
        &[("usr/jidoteki-admin-api.json", None)],
        get("what is disabled is unknown", "/api/v1/admin/backup/log?token=yourtoken", 404, NOT_FOUND),
    ),
    post(
        "a GET endpoint wants GET",
        "/api/v1/admin/version?token=yourtoken",
        Body::Form(&[]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid authentication method. Expected GET"}"#,
        &[],
    ),
    get(
        "a POST endpoint wants POST",
        "/api/v1/admin/setup?token=yourtoken",
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid authentication method. Expected POST"}"#,
    ),
    Case {
        method: "DELETE",
        ..get(
            "no endpoint knows DELETE",
            "/api/v1/admin/update?token=yourtoken",
            405,
            r#"{"Status":"405 Method Not Allowed"}"#,
        )
    },
    Case { method: "HEAD", ..get("HEAD is GET without a body", "/api/v1/admin/version?token=yourtoken", 200, "") },
    get(
        "who is calling, and no named token yet",
        "/api/v1/admin/tokens?token=yourtoken",
        200,
        r#"{"you":{"name":"admin","scope":"admin"},"tokens":[]}"#,
    ),
    given(
        NAMED,
        get(
            "who is calling, and the named tokens",
            "/api/v1/admin/tokens?token=yourtoken",
            200,
            r#"{"you":{"name":"admin","scope":"admin"},"tokens":[{"name":"monitoring","scope":"read"},{"name":"old","scope":"operate","expires":"2001-09-09T01:46:40Z"}]}"#,
        ),
    ),
    given(
        NAMED,
        get(
            "a token of a small scope learns who it is",
            "/api/v1/admin/tokens?token=monitor",
            200,
            r#"{"you":{"name":"monitoring","scope":"read"}}"#,
        ),
    ),
    given(
        &[("etc/api.tokens.json", Some("{"))],
        get(
            "tokens that cannot be read are not none",
            "/api/v1/admin/tokens?token=yourtoken",
            400,
            r#"{"Status":"400 Bad Request","Error-Message":"Cannot read the tokens"}"#,
        ),
    ),
    post(
        "a named token is made",
        "/api/v1/admin/tokens?token=yourtoken",
        Body::Form(&[("name", "ops"), ("scope", "operate"), ("days", "90")]),
        200,
        "{\"Status\":\"200 OK\",\"token\":\"5f3c1e0b7a9d2846c0b1f4e8d7a6935210fe4dcb8a79685746352413021f0e9d\"}\n",
        &["tokens add"],
    ),
    post(
        "a token has a name",
        "/api/v1/admin/tokens?token=yourtoken",
        Body::Form(&[("name", "a b"), ("scope", "read")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: name. Allowed: 1 to 32 letters, digits, - and _; admin and previous-... are reserved","Field":"name"}"#,
        &[],
    ),
    post(
        "the name of the first token is taken",
        "/api/v1/admin/tokens?token=yourtoken",
        Body::Form(&[("name", "admin"), ("scope", "read")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: name. Allowed: 1 to 32 letters, digits, - and _; admin and previous-... are reserved","Field":"name"}"#,
        &[],
    ),
    post(
        "a token has a scope",
        "/api/v1/admin/tokens?token=yourtoken",
        Body::Form(&[("name", "ops"), ("scope", "god")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: scope. Allowed: read, operate, admin","Field":"scope"}"#,
        &[],
    ),
    post(
        "a token ends in so many days",
        "/api/v1/admin/tokens?token=yourtoken",
        Body::Form(&[("name", "ops"), ("scope", "read"), ("days", "3651")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: days. Allowed: 1 to 3650","Field":"days"}"#,
        &[],
    ),
    given(
        NAMED,
        post(
            "a name has one token",
            "/api/v1/admin/tokens?token=yourtoken",
            Body::Form(&[("name", "old"), ("scope", "read")]),
            400,
            r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: name. Allowed: one that no other token has","Field":"name"}"#,
            &[],
        ),
    ),
    given(
        NAMED,
        post(
            "a token is made by an administrator alone",
            "/api/v1/admin/tokens?token=monitor",
            Body::Form(&[("name", "mine"), ("scope", "admin")]),
            403,
            r#"{"Status":"403 Forbidden","Error-Message":"This token may not do that: it needs the scope admin"}"#,
            &[],
        ),
    ),
    given(
        NAMED,
        post(
            "a named token is removed",
            "/api/v1/admin/tokens/remove?token=yourtoken",
            Body::Form(&[("name", "old")]),
            200,
            DONE,
            &["tokens remove"],
        ),
    ),
    given(
        NAMED,
        post(
            "the first token is no named one",
            "/api/v1/admin/tokens/remove?token=yourtoken",
            Body::Form(&[("name", "admin")]),
            400,
            r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: name. Allowed: a name that GET /tokens lists","Field":"name"}"#,
            &[],
        ),
    ),
    // State of the appliance.
    get("the build as it is", "/api/v1/admin/build?token=yourtoken", 200, "{\"builddate\":\"123456789\"}\n"),
    get("the health as it is", "/api/v1/admin/health?token=yourtoken", 200, "{\"cpu\":{\"num\":1}}\n"),
    given(
        &[("etc/health.json", Some("{"))],
        get("no half of a file", "/api/v1/admin/health?token=yourtoken", 404, NOT_FOUND),
    ),
    get("the facts about the machine as they are", "/api/v1/admin/machine?token=yourtoken", 200, "{\"hostname\":\"box\"}\n"),
    given(
        &[("etc/machine.json", None)],
        get("no machine before the first minute", "/api/v1/admin/machine?token=yourtoken", 404, NOT_FOUND),
    ),
    get("the changelog as it is", "/api/v1/admin/changelog?token=yourtoken", 200, "# Changelog\n"),
    given(
        &[("usr/jidoteki-admin-api.json", Some(r#"{"endpoints":["backup"]}"#))],
        get(
            "the first-level endpoints, sorted",
            "/api/v1/admin/endpoints?token=yourtoken",
            200,
            r#"{"endpoints":["/api/v1/admin/backup","/api/v1/admin/build","/api/v1/admin/changelog","/api/v1/admin/debug","/api/v1/admin/endpoints","/api/v1/admin/health","/api/v1/admin/logs","/api/v1/admin/reboot","/api/v1/admin/services","/api/v1/admin/setup","/api/v1/admin/update","/api/v1/admin/version","/docs"]}"#,
        ),
    ),
    Case {
        jobs: &["services"],
        ..get(
            "the services, as their job prints them",
            "/api/v1/admin/services?token=yourtoken",
            200,
            r#"{"services":[{"ssh":"running"}]}"#,
        )
    },
    Case {
        jobs: &["monitor 1d"],
        ..get(
            "the history, as its job prints it",
            "/api/v1/admin/health/history?range=1d&token=yourtoken",
            200,
            r#"{"range":"1d"}"#,
        )
    },
    given(
        &[("fail", Some("Reason: rrdtool is not installed on this appliance\n"))],
        Case {
            jobs: &["monitor 1h"],
            ..get(
                "no history where nobody keeps one",
                "/api/v1/admin/health/history?token=yourtoken",
                404,
                r#"{"Status":"404 Not Found","Error-Message":"rrdtool is not installed on this appliance"}"#,
            )
        },
    ),
    get(
        "a range is one of five",
        "/api/v1/admin/health/history?range=1&token=yourtoken",
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: range. Allowed: 1h, 1d, 1w, 1m, 1y"}"#,
    ),
    given(
        &[(
            "audit/jidoteki-audit.jsonl",
            Some(concat!(
                "{\"seq\":7,\"chain\":\"0000000000000000000000000000000000000000000000000000000000000000\"}\n",
                "{\"seq\":8,\"chain\":\"1111111111111111111111111111111111111111111111111111111111111111\"}\n"
            )),
        )],
        get(
            "the audit log, the newest first",
            "/api/v1/admin/audit?limit=1&token=yourtoken",
            200,
            r#"{"entries":[{"seq":8,"chain":"1111111111111111111111111111111111111111111111111111111111111111"}],"next":8}"#,
        ),
    ),
    get("no audit log", "/api/v1/admin/audit?token=yourtoken", 404, NOT_FOUND),
    // Updates.
    post(
        "an update is accepted",
        "/api/v1/admin/update?token=yourtoken",
        Body::Form(&[("update", "package")]),
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/update"}"#,
        &["update"],
    ),
    post(
        "the credential may follow the file",
        "/api/v1/admin/update",
        Body::Form(&[("update", "package"), ("token", "yourtoken")]),
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/update"}"#,
        &["update"],
    ),
    post(
        "an update is a field of that name",
        "/api/v1/admin/update?token=yourtoken",
        Body::Form(&[("file", "package")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Unknown field in the form. Expected: update, upload"}"#,
        &[],
    ),
    post(
        "an update is not sent twice",
        "/api/v1/admin/update?token=yourtoken",
        Body::Form(&[("update", "1"), ("update", "2")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"The field update occurs twice"}"#,
        &[],
    ),
    post(
        "an update is a form",
        "/api/v1/admin/update?token=yourtoken",
        Body::Raw("text/plain", b"package"),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Expected a body of multipart/form-data"}"#,
        &[],
    ),
    post(
        "a form ends with its boundary",
        "/api/v1/admin/update?token=yourtoken",
        Body::Raw(
            "multipart/form-data; boundary=B",
            b"--B\r\nContent-Disposition: form-data; name=update\r\n\r\npackage",
        ),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"The form has no final boundary"}"#,
        &[],
    ),
    get(
        "the status of the update",
        "/api/v1/admin/update?token=yourtoken",
        200,
        r#"{"status":"success","percentage":100,"log":"[1][SYSTEM] one\n[2][SYSTEM] two"}"#,
    ),
    given(
        &[
            ("etc/status_update.json", Some(r#"{"status":"running","percentage":40,"version-before":"1"}"#)),
            ("log/update.log", None),
        ],
        get(
            "an update that died was interrupted",
            "/api/v1/admin/update?token=yourtoken",
            200,
            r#"{"status":"failed","percentage":40,"log":null,"error-message":"The update was interrupted: it ended without a result","error-code":"E1000","version-before":"1"}"#,
        ),
    ),
    given(
        &[("etc/status_update.json", None), ("log/update.log", None)],
        get("no update yet", "/api/v1/admin/update?token=yourtoken", 200, r#"{"status":null,"log":null}"#),
    ),
    get(
        "the log of the update as it is",
        "/api/v1/admin/update/log?token=yourtoken",
        200,
        "[1][SYSTEM] one\n[2][SYSTEM] two\n",
    ),
    // Settings.
    post(
        "a static address",
        "/api/v1/admin/settings?token=yourtoken",
        Body::Form(&[("settings", STATIC)]),
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/settings"}"#,
        &["settings static"],
    ),
    post(
        "an address from DHCP",
        "/api/v1/admin/settings?confirm=120&token=yourtoken",
        Body::Form(&[("settings", DHCP)]),
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/settings"}"#,
        &["settings dhcp"],
    ),
    post(
        "settings from an old system: a folded head, a file name of another code page, an odd header, a mark before the JSON",
        "/api/v1/admin/settings?token=yourtoken",
        Body::Raw(
            "multipart/form-data; boundary=B",
            b"--B\r\nX_Custom~1: \xfc\r\nContent-Disposition: form-data;\r\n filename=\"gr\xfcn\x95\\\";\r\n\tname=\"settings\"\r\n\r\n\xef\xbb\xbf{\"network\":{\"interface\":\"eth0\",\"hostname\":\"test.host\"}}\r\n--B--\r\n",
        ),
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/settings"}"#,
        &["settings dhcp"],
    ),
    post(
        "half of a static address",
        "/api/v1/admin/settings?token=yourtoken",
        Body::Form(&[(
            "settings",
            r#"{"network":{"interface":"eth0","hostname":"test.host","ip_address":"10.0.0.2"}}"#,
        )]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: netmask. Allowed: static settings need ip_address, netmask and gateway, DHCP none of them","Field":"netmask"}"#,
        &[],
    ),
    post(
        "an empty field is no time to confirm",
        "/api/v1/admin/settings?token=yourtoken",
        Body::Form(&[("settings", DHCP), ("confirm", "")]),
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/settings"}"#,
        &["settings dhcp"],
    ),
    post(
        "time to confirm has bounds",
        "/api/v1/admin/settings?confirm=5&token=yourtoken",
        Body::Form(&[("settings", DHCP)]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: confirm. Allowed: 10 to 3600 seconds","Field":"confirm"}"#,
        &[],
    ),
    post(
        "no number of the network that is infinite",
        "/api/v1/admin/settings?token=yourtoken",
        Body::Form(&[("settings", r#"{"network":{"interface":"eth0","hostname":"new.host","dms1":9900e01358}}"#)]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: dms1. Allowed: numbers that fit into double precision","Field":"dms1"}"#,
        &[],
    ),
    post(
        "no number of the application that is infinite",
        "/api/v1/admin/settings?token=yourtoken",
        Body::Form(&[(
            "settings",
            r#"{"network":{"interface":"eth0","hostname":"new.host"},"app":{"a":[{"b":-1e309}]}}"#,
        )]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: app. Allowed: numbers that fit into double precision","Field":"app"}"#,
        &[],
    ),
    post(
        "no half of a surrogate pair in the network",
        "/api/v1/admin/settings?token=yourtoken",
        Body::Form(&[("settings", r#"{"network":{"interface":"eth0","hostname":"new.host","note":"\ud83d!"}}"#)]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: note. Allowed: both halves of a surrogate pair","Field":"note"}"#,
        &[],
    ),
    post(
        "no half of a surrogate pair in the application",
        "/api/v1/admin/settings?token=yourtoken",
        Body::Form(&[(
            "settings",
            r#"{"network":{"interface":"eth0","hostname":"new.host"},"app":{"a":[{"\udc00":1}]}}"#,
        )]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: app. Allowed: both halves of a surrogate pair","Field":"app"}"#,
        &[],
    ),
    post(
        "settings are confirmed",
        "/api/v1/admin/settings/confirm?token=yourtoken",
        Body::None,
        200,
        DONE,
        &["settings confirm"],
    ),
    given(
        &[("etc/pending_settings.txt", Some("boot_id=x\nuntil=SOON\n"))],
        post(
            "settings are rolled back",
            "/api/v1/admin/settings/revert?token=yourtoken",
            Body::None,
            202,
            r#"{"Status":"202 Accepted","Location":"/api/v1/admin/settings"}"#,
            &["settings undo"],
        ),
    ),
    post(
        "settings are rolled back where none wait",
        "/api/v1/admin/settings/revert?token=yourtoken",
        Body::None,
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Unable to roll back the settings: No change of settings is waiting for confirmation"}"#,
        &[],
    ),
    given(
        &[("etc/status_settings.txt", Some("failed\n")), ("log/update_settings.log", Some("[1][SYSTEM] no\n"))],
        get(
            "the settings in force, and how the last change went",
            "/api/v1/admin/settings?token=yourtoken",
            200,
            r#"{"network":{"mode":"dhcp","interface":"eth0"},"app":{"name":"testapp"},"status":"failed","log":"[1][SYSTEM] no"}"#,
        ),
    ),
    given(
        &[
            ("etc/network.json", None),
            ("etc/status_settings.txt", Some("failed\n")),
            ("etc/status_error_settings.txt", Some("There is no interface eth7\n")),
            ("log/update_settings.log", Some("[1][SYSTEM] no\n")),
        ],
        get(
            "no settings yet, and why the first change failed",
            "/api/v1/admin/settings?token=yourtoken",
            404,
            r#"{"Status":"404 Not Found","status":"failed","log":"[1][SYSTEM] no","error-message":"There is no interface eth7"}"#,
        ),
    ),
    given(
        &[("etc/network.json", None)],
        get("no settings yet", "/api/v1/admin/settings?token=yourtoken", 404, NOT_FOUND),
    ),
    given(
        &[("etc/pending_settings.txt", Some("boot_id=another\ndeadline=1\nuntil=1\n"))],
        get(
            "settings that are being rolled back are pending until they are back",
            "/api/v1/admin/settings?token=yourtoken",
            200,
            r#"{"network":{"mode":"dhcp","interface":"eth0"},"app":{"name":"testapp"},"pending":{"seconds-left":0}}"#,
        ),
    ),
    given(
        &[("etc/status_settings.txt", Some("running\n")), ("log/update_settings.log", None)],
        get(
            "settings of a change that was cut off are pending until they are rolled back",
            "/api/v1/admin/settings?token=yourtoken",
            200,
            r#"{"network":{"mode":"dhcp","interface":"eth0"},"app":{"name":"testapp"},"pending":{"seconds-left":0},"status":"failed","log":null,"error-message":"The change was interrupted: it ended without a result"}"#,
        ),
    ),
    post(
        "no address of the machine itself",
        "/api/v1/admin/settings?token=yourtoken",
        Body::Form(&[(
            "settings",
            r#"{"network":{"interface":"eth0","hostname":"new.host","ip_address":"127.0.0.1","netmask":"/8","gateway":"127.0.0.2"}}"#,
        )]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: ip_address. Allowed: the address of a machine, not one that is loopback, unspecified, multicast or reserved","Field":"ip_address"}"#,
        &[],
    ),
    get(
        "the settings in force",
        "/api/v1/admin/settings?token=yourtoken",
        200,
        r#"{"network":{"mode":"dhcp","interface":"eth0"},"app":{"name":"testapp"}}"#,
    ),
    // Certificates, license, storage.
    post(
        "a certificate and its key",
        "/api/v1/admin/certs?token=yourtoken",
        Body::Form(&[("private", "key"), ("public", "pem")]),
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/certs"}"#,
        &["certs"],
    ),
    post(
        "a certificate without its key",
        "/api/v1/admin/certs?token=yourtoken",
        Body::Form(&[("public", "pem")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Missing field: private"}"#,
        &[],
    ),
    post(
        "a certificate is confirmed",
        "/api/v1/admin/certs/confirm?token=yourtoken",
        Body::None,
        200,
        DONE,
        &["certs confirm"],
    ),
    given(
        &[("etc/pending_certs.txt", Some("boot_id=x\nuntil=SOON\n"))],
        post(
            "a certificate is rolled back",
            "/api/v1/admin/certs/revert?token=yourtoken",
            Body::None,
            202,
            r#"{"Status":"202 Accepted","Location":"/api/v1/admin/certs"}"#,
            &["certs undo"],
        ),
    ),
    post(
        "a certificate is rolled back where none waits",
        "/api/v1/admin/certs/revert?token=yourtoken",
        Body::None,
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Unable to roll back the certificates: No change of certificates is waiting for confirmation"}"#,
        &[],
    ),
    given(
        &[("etc/certs_request.pem", Some("request\n"))],
        post(
            "a certificate for the key that waits",
            "/api/v1/admin/certs?token=yourtoken",
            Body::Form(&[("public", "pem")]),
            202,
            r#"{"Status":"202 Accepted","Location":"/api/v1/admin/certs"}"#,
            &["certs"],
        ),
    ),
    post(
        "a request for a certificate",
        "/api/v1/admin/certs/csr?token=yourtoken",
        Body::Form(&[("names", "Box.example., *.box.example\n2001:DB8:0::1,192.0.2.7"), ("key", "rsa")]),
        200,
        "rsa\nbox.example,*.box.example,2001:db8::1,192.0.2.7\n",
        &["certs csr"],
    ),
    post(
        "a request by a short form",
        "/api/v1/admin/certs/csr?token=yourtoken",
        Body::Raw("application/x-www-form-urlencoded", b"names=box"),
        200,
        "ec\nbox\n",
        &["certs csr"],
    ),
    post(
        "a request without names",
        "/api/v1/admin/certs/csr?token=yourtoken",
        Body::Form(&[("key", "ec")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Missing field: names"}"#,
        &[],
    ),
    post(
        "a request for what is no name",
        "/api/v1/admin/certs/csr?token=yourtoken",
        Body::Form(&[("names", "box,a..b")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: names. Allowed: 1 to 50 host names or addresses","Field":"names"}"#,
        &[],
    ),
    post(
        "a request with a key that nobody makes",
        "/api/v1/admin/certs/csr?token=yourtoken",
        Body::Form(&[("names", "box"), ("key", "dsa")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: key. Allowed: ec, rsa","Field":"key"}"#,
        &[],
    ),
    given(
        &[("etc/certs_request.pem", Some("request\n"))],
        post(
            "a request is forgotten",
            "/api/v1/admin/certs/csr?token=yourtoken",
            Body::Form(&[("action", "forget")]),
            200,
            DONE,
            &["certs forget"],
        ),
    ),
    given(
        &[("etc/certs_request.pem", Some("request\n"))],
        get("the request that waits", "/api/v1/admin/certs/csr?token=yourtoken", 200, "request\n"),
    ),
    get("no request waits", "/api/v1/admin/certs/csr?token=yourtoken", 404, NOT_FOUND),
    get("no certificate was sent yet", "/api/v1/admin/certs?token=yourtoken", 200, r#"{"status":null,"log":null}"#),
    post(
        "the new license is the answer",
        "/api/v1/admin/license?token=yourtoken",
        Body::Form(&[("license", r#"{"app":"new"}"#)]),
        200,
        r#"{"app":"new"}"#,
        &["license"],
    ),
    get("no license", "/api/v1/admin/license?token=yourtoken", 404, NOT_FOUND),
    given(
        &[("fail", Some("Reason: the file is no license\n"))],
        post(
            "a license that its job refuses",
            "/api/v1/admin/license?token=yourtoken",
            Body::Form(&[("license", "x")]),
            400,
            r#"{"Status":"400 Bad Request","Error-Message":"Unable to change the license: the file is no license"}"#,
            &["license"],
        ),
    ),
    post(
        "local storage",
        "/api/v1/admin/storage?token=yourtoken",
        Body::Form(&[("settings", r#"{"storage":{"type":"local"}}"#)]),
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/storage"}"#,
        &["storage"],
    ),
    post(
        "storage with a mark before the JSON",
        "/api/v1/admin/storage?token=yourtoken",
        Body::Form(&[("settings", "\u{feff}{\"storage\":{\"type\":\"local\"}}")]),
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/storage"}"#,
        &["storage"],
    ),
    post(
        "no key of storage that nobody knows",
        "/api/v1/admin/storage?token=yourtoken",
        Body::Form(&[("settings", r#"{"storage":{"type":"local","x":"$(reboot)"}}"#)]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: x. Allowed: type","Field":"x"}"#,
        &[],
    ),
    post(
        "the last storage change is rolled back",
        "/api/v1/admin/storage/undo?token=yourtoken",
        Body::None,
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/storage"}"#,
        &["storage undo"],
    ),
    get(
        "the storage in force, and what could be",
        "/api/v1/admin/storage?token=yourtoken",
        200,
        r#"{"storage":{"type":"local"},"options":["local","nfs"]}"#,
    ),
    given(
        &[
            ("etc/storage.json", None),
            ("etc/status_storage.txt", Some("failed\n")),
            ("etc/status_error_storage.txt", Some("The storage settings could not be applied\n")),
        ],
        get(
            "no storage yet, and why the first change failed",
            "/api/v1/admin/storage?token=yourtoken",
            404,
            r#"{"Status":"404 Not Found","status":"failed","log":null,"error-message":"The storage settings could not be applied"}"#,
        ),
    ),
    post(
        "no server where no machine can be",
        "/api/v1/admin/storage?token=yourtoken",
        Body::Form(&[("settings", r#"{"storage":{"type":"nfs","mount_options":"rw,x","share":"/x/y","ip":"0.0.0.0"}}"#)]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: ip. Allowed: the address of a machine, not one that is unspecified, multicast or reserved","Field":"ip"}"#,
        &[],
    ),
    given(
        &[("usr/storage-options.json", Some(""))],
        get(
            "an empty list of types is the one that is always there",
            "/api/v1/admin/storage?token=yourtoken",
            200,
            r#"{"storage":{"type":"local"},"options":["local"]}"#,
        ),
    ),
    given(
        &[("usr/storage-options.json", Some("{\"options\":[\"nfs\","))],
        get(
            "a broken list of types likewise",
            "/api/v1/admin/storage?token=yourtoken",
            200,
            r#"{"storage":{"type":"local"},"options":["local"]}"#,
        ),
    ),
    post(
        "no number of storage that is infinite",
        "/api/v1/admin/storage?token=yourtoken",
        Body::Form(&[("settings", r#"{"storage":{"type":"local","type2":1e400}}"#)]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: type2. Allowed: type","Field":"type2"}"#,
        &[],
    ),
    // Backup.
    post(
        "a backup is made",
        "/api/v1/admin/backup?token=yourtoken",
        Body::Form(&[("action", "start")]),
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/backup"}"#,
        &["backup START"],
    ),
    post(
        "a backup is deleted, by a short form",
        "/api/v1/admin/backup?token=yourtoken",
        Body::Raw("application/x-www-form-urlencoded", b"action=STOP"),
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/backup"}"#,
        &["backup STOP"],
    ),
    post(
        "a backup is not paused",
        "/api/v1/admin/backup?token=yourtoken",
        Body::Form(&[("action", "PAUSE")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Missing or invalid option: action. Expected value 'START' or 'STOP'"}"#,
        &[],
    ),
    get("no backup yet", "/api/v1/admin/backup?token=yourtoken", 404, NOT_FOUND),
    given(
        &[("home/sftp/uploads/backup.json", Some(r#"{"status":"running"}"#))],
        get(
            "a backup that died was interrupted",
            "/api/v1/admin/backup?token=yourtoken",
            200,
            r#"{"status":"failed","error-message":"The backup was interrupted: it ended without a result"}"#,
        ),
    ),
    get("the backup itself", "/api/v1/admin/backup/download?token=yourtoken", 200, "the backup"),
    get("the log of the backup", "/api/v1/admin/backup/log?token=yourtoken", 200, "[3][SYSTEM] three\n"),
    post(
        "a restore",
        "/api/v1/admin/backup/restore?token=yourtoken",
        Body::Form(&[("archive", "tar")]),
        200,
        DONE,
        &["backup RESTORE"],
    ),
    post(
        "a restore is rolled back",
        "/api/v1/admin/backup/restore?token=yourtoken",
        Body::Form(&[("action", "UNDO")]),
        200,
        DONE,
        &["backup UNDO"],
    ),
    given(
        &[("fail", Some("tar: /root/secret\n"))],
        post(
            "a restore that fails",
            "/api/v1/admin/backup/restore?token=yourtoken",
            Body::Form(&[("archive", "x")]),
            400,
            r#"{"Status":"400 Bad Request","Error-Message":"Unable to extract backup archive"}"#,
            &["backup RESTORE"],
        ),
    ),
    // Support, restart, token.
    Case { jobs: &["logs"], ..get("the logs", "/api/v1/admin/logs?token=yourtoken", 200, "logs\n") },
    Case { jobs: &["debug"], ..get("the debug bundle", "/api/v1/admin/debug?token=yourtoken", 200, "bundle\n") },
    post(
        "a restart that no link can cause",
        "/api/v1/admin/reboot?token=yourtoken",
        Body::None,
        202,
        r#"{"Status":"202 Accepted","Location":"/api/v1/admin/reboot"}"#,
        &["reboot"],
    ),
    Case {
        jobs: &["reboot"],
        ..get(
            "a restart",
            "/api/v1/admin/reboot?token=yourtoken",
            202,
            r#"{"Status":"202 Accepted","Location":"/api/v1/admin/reboot"}"#,
        )
    },
    post(
        "a new token",
        "/api/v1/admin/setup?token=yourtoken",
        Body::Form(&[("newtoken", "new")]),
        200,
        DONE,
        &["token"],
    ),
    given(
        &[("etc/api.token", None)],
        post(
            "the first token needs no credential",
            "/api/v1/admin/setup",
            Body::Form(&[("newtoken", "first")]),
            200,
            DONE,
            &["token"],
        ),
    ),
    post(
        "a token has no space",
        "/api/v1/admin/setup?token=yourtoken",
        Body::Form(&[("newtoken", "a b")]),
        400,
        r##"{"Status":"400 Bad Request","Error-Message":"Missing or invalid string for option: newtoken. Allowed: !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~","Field":"newtoken"}"##,
        &[],
    ),
    post(
        "a stranger sets no token",
        "/api/v1/admin/setup?token=wrong",
        Body::Form(&[("newtoken", "mine")]),
        403,
        r#"{"Status":"403 Forbidden"}"#,
        &[],
    ),
    // Uploads in pieces.
    post(
        "an upload is opened",
        "/api/v1/admin/uploads?token=yourtoken",
        Body::Form(&[("for", "update"), ("length", "11")]),
        201,
        r#"{"Status":"201 Created","Location":"/api/v1/admin/uploads/ID","Upload":"ID","Length":11,"Offset":0,"Piece":67108864}"#,
        &[],
    ),
    post(
        "an upload needs its length",
        "/api/v1/admin/uploads?token=yourtoken",
        Body::Form(&[("for", "update")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Missing field: length"}"#,
        &[],
    ),
    get("nothing is being uploaded", "/api/v1/admin/uploads?token=yourtoken", 200, r#"{"uploads":[]}"#),
    get(
        "an upload that never was",
        "/api/v1/admin/uploads/0123456789abcdef0123456789abcdef?token=yourtoken",
        404,
        NOT_FOUND,
    ),
    Case {
        name: "a piece of an upload that never was",
        given: NOTHING,
        method: "PATCH",
        target: "/api/v1/admin/uploads/0123456789abcdef0123456789abcdef?token=yourtoken",
        body: Body::Raw("application/partial-upload", b"x"),
        status: 404,
        answer: NOT_FOUND,
        jobs: &[],
    },
    Case {
        name: "an upload that never was cannot be removed",
        given: NOTHING,
        method: "DELETE",
        target: "/api/v1/admin/uploads/0123456789abcdef0123456789abcdef?token=yourtoken",
        body: Body::None,
        status: 404,
        answer: NOT_FOUND,
        jobs: &[],
    },
    post(
        "an inspection of an upload that never was",
        "/api/v1/admin/update/inspect?token=yourtoken",
        Body::Form(&[("upload", "0123456789abcdef0123456789abcdef")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"There is no upload with this id for this request","Field":"upload"}"#,
        &[],
    ),
    post(
        "an inspection names its upload",
        "/api/v1/admin/update/inspect?token=yourtoken",
        Body::Form(&[]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"Missing field: upload"}"#,
        &[],
    ),
    post(
        "an update of an upload that never was",
        "/api/v1/admin/update?token=yourtoken",
        Body::Form(&[("upload", "0123456789abcdef0123456789abcdef")]),
        400,
        r#"{"Status":"400 Bad Request","Error-Message":"There is no upload with this id for this request","Field":"upload"}"#,
        &[],
    ),
];

/// Runs every case through `send`, and reports all failures.
#[track_caller]
pub fn check(fixture: &Fixture, mut send: impl FnMut(&str, &str, Option<(&str, Vec<u8>)>) -> Answer) {
    let mut faults = Vec::new();
    for case in CASES {
        fixture.reset();
        fixture.write("usr/jidoteki-admin-api.json", CONFIG);
        for (name, content) in case.given {
            match content {
                Some(content) => fixture.write(name, content),
                None => fixture.remove(name),
            }
        }
        let answer = match case.body {
            Body::None if case.method == "POST" => send(case.method, case.target, Some(("", Vec::new()))),
            Body::None => send(case.method, case.target, None),
            Body::Raw(kind, body) => send(case.method, case.target, Some((kind, body.to_vec()))),
            Body::Form(fields) => {
                let (kind, body) = crate::contract::form::encode(fields);
                send(case.method, case.target, Some((&kind, body)))
            }
        };
        let mut fault = |what: String| faults.push(format!("{}: {what}", case.name));
        let text = answer.text_without_job();
        if (answer.status, text.as_str()) != (case.status, case.answer) {
            fault(format!("expected {} {}\n    got {} {text}", case.status, case.answer, answer.status));
            continue;
        }
        if fixture.calls(case.jobs.len()) != case.jobs {
            fault(format!("expected the jobs {:?}, got {:?}", case.jobs, fixture.calls(0)));
        }
        for name in [
            "Strict-Transport-Security",
            "X-Frame-Options",
            "X-Content-Type-Options",
            "Content-Security-Policy",
            "Cache-Control",
        ] {
            let value = answer.header(name);
            if value.is_empty() || value.contains(" AND ") {
                fault(format!("the header {name} is {value:?}"));
            }
        }
        if ["yourtoken", "/root"].iter().any(|secret| fixture.read("log/jidoteki-audit.log").contains(secret)) {
            fault("a secret stands in the audit log".to_owned());
        }
    }
    assert!(faults.is_empty(), "{} of {} cases:\n  {}", faults.len(), CASES.len(), faults.join("\n  "));
}
