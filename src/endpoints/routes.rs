//! `ROUTES`, the one table: dispatch, `GET /endpoints`, the fields that a form may have, `docs/openapi.json`, the page
//! `/docs` and the command `routes` all come from it.

use crate::caller::auth;
use crate::endpoints::{self as to, Call};
use crate::http::error::Error;
use crate::http::request::{Method, Path};
use crate::http::response::Response;
use crate::upload::{Field, Kind};
use crate::values::config::{Config, Feature};
use crate::values::scope::Scope::{self, Admin, Operate, Read};
use Handler::{Open, Public, Scoped};
use Success::{Accepted, Created, Download, Empty, Json, Page, Text};

/// The prefix of every path except `/docs`.
pub const PREFIX: &str = "/api/v1/admin";

/// A handler, and who may call it.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Anyone. No credential is checked.
    Public(fn(&mut Call<'_, '_>) -> Result<Response, Error>),
    /// Anyone. The handler checks the caller itself.
    Open(fn(&mut Call<'_, '_>) -> Result<Response, Error>),
    /// A caller whose token has this scope.
    Scoped(Scope, fn(&mut Call<'_, '_>, auth::Admin) -> Result<Response, Error>),
}

/// The methods that routes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Reads. `HEAD` is the same without the body.
    Get,
    /// Changes something.
    Post,
    /// Appends.
    Patch,
    /// Removes.
    Delete,
}

impl Verb {
    /// The method, as in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }
}

/// The response of a successful request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    /// 200 with JSON, like this example.
    Json(&'static str),
    /// 200 with plain text.
    Text,
    /// 200 with a page.
    Page,
    /// 200 with a file of this name.
    Download(&'static str),
    /// 201 with JSON, such as this example.
    Created(&'static str),
    /// 204 without a body.
    Empty,
    /// 202: a job runs in the background.
    Accepted,
}

/// A query parameter of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The name in the query.
    pub name: &'static str,
    /// Its description in the documentation.
    pub summary: &'static str,
}

/// One row: a method of a path.
pub struct Route {
    pub method: Verb,
    /// Its path, for routing and signing.
    pub path: &'static str,
    /// The feature that enables it; `None` if it cannot be disabled.
    pub feature: Option<Feature>,
    /// The function that handles it, and who may call it.
    pub handler: Handler,
    pub fields: &'static [Field],
    /// The parameters of the query, besides credentials.
    pub parameters: &'static [Parameter],
    /// The response on success.
    pub success: Success,
    /// Whether it returns 404 if there is no result.
    pub can_be_absent: bool,
    /// One line for the documentation.
    pub summary: &'static str,
}

impl Route {
    /// Whether it has this path. `{id}` stands for the 16 hexadecimal digits of a job, `{upload}` for the 32 of an upload.
    pub fn is_at(&self, path: &str) -> bool {
        let is_id = |id: &str| id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match self.path.split_once('{') {
            Some((folder, name)) => {
                let n_digits = if name == "id}" { 16 } else { 32 };
                path.strip_prefix(folder).is_some_and(|id| id.len() == n_digits && is_id(id))
            }
            None => self.path == path,
        }
    }

    /// Whether requests from another site's pages must be refused.
    pub fn changes_state(&self) -> bool {
        self.method != Verb::Get || self.feature == Some(Feature::RebootByGet)
    }
}

/// A row without a feature, a form or a query.
const fn row(method: Verb, path: &'static str, handler: Handler, success: Success, summary: &'static str) -> Route {
    Route { method, path, feature: None, handler, fields: &[], parameters: &[], success, can_be_absent: false, summary }
}

const fn delete(path: &'static str, handler: Handler, success: Success, summary: &'static str) -> Route {
    row(Verb::Delete, path, handler, success, summary)
}

const fn get(path: &'static str, handler: Handler, success: Success, summary: &'static str) -> Route {
    row(Verb::Get, path, handler, success, summary)
}

const fn patch(path: &'static str, handler: Handler, success: Success, summary: &'static str) -> Route {
    row(Verb::Patch, path, handler, success, summary)
}

const fn post(path: &'static str, handler: Handler, success: Success, summary: &'static str) -> Route {
    row(Verb::Post, path, handler, success, summary)
}

impl Route {
    const fn feature(self, feature: Feature) -> Route {
        Route { feature: Some(feature), ..self }
    }

    const fn form(self, fields: &'static [Field]) -> Route {
        Route { fields, ..self }
    }

    const fn query(self, parameters: &'static [Parameter]) -> Route {
        Route { parameters, ..self }
    }

    /// The response is 404 if there is nothing to show.
    const fn or_absent(self) -> Route {
        Route { can_be_absent: true, ..self }
    }
}

const DONE: Success = Json(r#"{"Status":"200 OK"}"#);

macro_rules! path {
    ($endpoint:literal) => {
        concat!("/api/v1/admin", $endpoint)
    };
}

/// Every route, sorted by path and method.
#[rustfmt::skip] // A row is a line or two.
pub const ROUTES: &[Route] = &[
    get(path!("/audit"), Scoped(Admin, to::audit::get), Json(example::AUDIT), "The audit log, newest entries first")
        .feature(Feature::Audit).query(query::AUDIT).or_absent(),
    get(path!("/backup"), Scoped(Read, to::backup::get), Json(example::BACKUP), "Status of the backup")
        .feature(Feature::Backup).or_absent(),
    post(path!("/backup"), Scoped(Operate, to::backup::post), Accepted, "Creates or deletes a backup")
        .feature(Feature::Backup).form(form::BACKUP),
    get(path!("/backup/download"), Scoped(Admin, to::backup::file), Download("backup.tar"), "The backup")
        .feature(Feature::Backup).or_absent(),
    get(path!("/backup/log"), Scoped(Read, to::backup::log), Text, "Log of the backup")
        .feature(Feature::Backup).or_absent(),
    post(path!("/backup/restore"), Scoped(Admin, to::backup::restore), DONE,
        "Restores a backup; responds when it is done").feature(Feature::Backup).form(form::BACKUP_RESTORE),
    get(path!("/build"), Scoped(Read, to::information::build), Json(example::BUILD), "How the image was built")
        .or_absent(),
    get(path!("/certs"), Scoped(Read, to::certs::get), Json(example::CERTS),
        "The certificate in use, and the status of its change").feature(Feature::Certs),
    post(path!("/certs"), Scoped(Admin, to::certs::post), Accepted, "Installs a TLS certificate")
        .feature(Feature::Certs).form(form::CERTS).query(query::CONFIRM),
    post(path!("/certs/confirm"), Scoped(Admin, to::certs::confirm), DONE, "Confirms the pending certificate")
        .feature(Feature::Certs),
    get(path!("/certs/csr"), Scoped(Read, to::certs::csr), Text, "The pending certificate request")
        .feature(Feature::Certs).or_absent(),
    post(path!("/certs/csr"), Scoped(Admin, to::certs::post_csr), Text,
        "Creates a key that stays on the appliance, and a certificate request")
        .feature(Feature::Certs).form(form::CERTS_CSR),
    post(path!("/certs/revert"), Scoped(Admin, to::certs::revert), Accepted,
        "Rolls back the pending certificate").feature(Feature::Certs),
    get(path!("/changelog"), Scoped(Read, to::information::changelog), Text, "Changes in the last update").or_absent(),
    get(path!("/debug"), Scoped(Operate, to::support::debug), Download("debug-bundle.tar"),
        "Collects an encrypted debug bundle for the vendor").or_absent(),
    get(path!("/endpoints"), Scoped(Read, to::information::endpoints), Json(example::ENDPOINTS),
        "The enabled endpoints"),
    get(path!("/health"), Scoped(Read, to::information::health), Json(example::HEALTH),
        "Disk, memory and processor use").or_absent(),
    get(path!("/health/history"), Scoped(Read, to::information::history), Json(example::HEALTH_HISTORY),
        "Processor, memory, disk and network use over time")
        .feature(Feature::Monitor).query(query::HEALTH_HISTORY).or_absent(),
    get(path!("/jobs"), Scoped(Read, to::jobs::list), Json(example::JOBS),
        "Running jobs, then the last hundred that ended"),
    get(path!("/jobs/{id}"), Scoped(Read, to::jobs::get), Json(example::JOB), "One job, by the `Job` id of a 202")
        .query(query::JOB).or_absent(),
    get(path!("/license"), Scoped(Read, to::license::get), Json(example::LICENSE), "The license")
        .feature(Feature::License).or_absent(),
    post(path!("/license"), Scoped(Admin, to::license::post), Json(example::LICENSE),
        "Installs a license and returns it").feature(Feature::License).form(form::LICENSE).or_absent(),
    get(path!("/logs"), Scoped(Operate, to::support::logs), Download("logs.tar.gz"), "Collects the logs").or_absent(),
    get(path!("/machine"), Scoped(Read, to::information::machine), Json(example::MACHINE),
        "Host name, time zone, start and network interfaces").or_absent(),
    get(path!("/reboot"), Scoped(Operate, to::reboot::get), Accepted, "Saves data that is only in memory, then restarts")
        .feature(Feature::RebootByGet),
    post(path!("/reboot"), Scoped(Operate, to::reboot::post), Accepted,
        "Saves data that is only in memory, then restarts").feature(Feature::RebootByPost).form(form::REBOOT).query(query::REBOOT),
    get(path!("/services"), Scoped(Read, to::services::get), Json(example::SERVICES), "Status of the services"),
    get(path!("/settings"), Scoped(Read, to::settings::get), Json(example::SETTINGS),
        "Network and application settings").feature(Feature::Settings).or_absent(),
    post(path!("/settings"), Scoped(Admin, to::settings::post), Accepted, "Changes network and application settings")
        .feature(Feature::Settings).form(form::SETTINGS).query(query::CONFIRM),
    post(path!("/settings/confirm"), Scoped(Admin, to::settings::confirm), DONE, "Confirms the pending settings")
        .feature(Feature::Settings),
    post(path!("/settings/revert"), Scoped(Admin, to::settings::revert), Accepted,
        "Rolls back the pending settings").feature(Feature::Settings),
    post(path!("/setup"), Open(to::setup::post), DONE, "Sets the API token; no credentials needed the first time")
        .form(form::SETUP),
    get(path!("/storage"), Scoped(Admin, to::storage::get), Json(example::STORAGE),
        "Storage settings, and the available types").feature(Feature::Storage).or_absent(),
    post(path!("/storage"), Scoped(Admin, to::storage::post), Accepted,
        "Changes the storage settings, from the next restart on").feature(Feature::Storage).form(form::STORAGE),
    post(path!("/storage/undo"), Scoped(Admin, to::storage::undo), Accepted, "Rolls back the last storage change")
        .feature(Feature::Storage),
    get(path!("/tokens"), Scoped(Read, to::tokens::get), Json(example::TOKENS),
        "The caller's token, and the named tokens"),
    post(path!("/tokens"), Scoped(Admin, to::tokens::add), Json(example::TOKENS_POST),
        "Creates a named token, shown only once").form(form::TOKENS),
    post(path!("/tokens/remove"), Scoped(Admin, to::tokens::remove), DONE, "Removes a named token")
        .form(form::TOKENS_REMOVE),
    get(path!("/update"), Scoped(Read, to::update::get), Json(example::UPDATE), "Status of the update"),
    post(path!("/update"), Scoped(Operate, to::update::post), Accepted, "Installs a software update")
        .form(form::UPDATE),
    post(path!("/update/inspect"), Scoped(Operate, to::update::inspect), Json(example::UPDATE_INSPECT),
        "Checks an uploaded package without installing it").form(form::UPDATE_INSPECT),
    get(path!("/update/log"), Scoped(Read, to::update::log), Text, "Log of the update").or_absent(),
    get(path!("/uploads"), Scoped(Operate, to::uploads::list), Json(example::UPLOADS),
        "The open uploads of the caller's token"),
    post(path!("/uploads"), Scoped(Operate, to::uploads::post), Created(example::UPLOADS_POST),
        "Opens an upload in pieces").form(form::UPLOADS),
    get(path!("/uploads/{upload}"), Scoped(Operate, to::uploads::get), Json(example::UPLOAD),
        "The offset at which an upload continues; HEAD returns it in headers, with 204").or_absent(),
    patch(path!("/uploads/{upload}"), Scoped(Operate, to::uploads::patch), Empty, "Appends the next piece to an upload")
        .or_absent(),
    delete(path!("/uploads/{upload}"), Scoped(Operate, to::uploads::delete), Empty, "Removes an upload").or_absent(),
    get(path!("/version"), Scoped(Read, to::information::version), Json(example::VERSION), "Version of the appliance")
        .or_absent(),
    get("/docs", Public(to::docs::get), Page, "This API on one page"),
];

/// The part of a route that `check` needs.
#[derive(Clone, Copy)]
pub struct Facts {
    pub method: Verb,
    pub path: &'static str,
    /// As in [`Route`].
    pub feature: Option<Feature>,
    pub fields: &'static [Field],
}

/// The routes without their handlers: `check` runs in the program for jobs, which would otherwise contain all of them.
pub const FACTS: [Facts; ROUTES.len()] = {
    let mut facts = [Facts { method: Verb::Get, path: "", feature: None, fields: &[] }; ROUTES.len()];
    let mut at = 0;
    while at < ROUTES.len() {
        let Route { method, path, feature, fields, .. } = ROUTES[at];
        facts[at] = Facts { method, path, feature, fields };
        at += 1;
    }
    facts
};

/// The rows of one path that are enabled; never empty.
pub struct Resource(Vec<&'static Route>);

/// Finds the rows of a path. A disabled endpoint counts as missing.
pub fn find(path: &Path, config: &Config) -> Option<Resource> {
    let rows: Vec<_> =
        ROUTES.iter().filter(|route| route.is_at(path.canonical()) && config.is_enabled(route.feature)).collect();
    (!rows.is_empty()).then_some(Resource(rows))
}

impl Resource {
    /// The row for a method, or the error for a method that the path does not support.
    pub fn route(&self, method: &Method) -> Result<&'static Route, Error> {
        let wanted = match method {
            Method::Get | Method::Head => Some(Verb::Get),
            Method::Post => Some(Verb::Post),
            Method::Patch => Some(Verb::Patch),
            Method::Delete => Some(Verb::Delete),
            Method::Other(_) => None,
        };
        let route = self.0.iter().find(|route| Some(route.method) == wanted).copied();
        route.ok_or_else(|| match wanted {
            Some(Verb::Get | Verb::Post) => Error::Expected(self.0[0].method.as_str()),
            Some(Verb::Patch | Verb::Delete) | None => {
                let methods: Vec<&str> = self.0.iter().map(|route| route.method.as_str()).collect();
                Error::MethodNotAllowed(methods.join(", "))
            }
        })
    }

    /// Whether anyone may use the path, with any method.
    pub fn is_public(&self) -> bool {
        matches!(self.0[0].handler, Public(_))
    }
}

/// The fields of forms, named like their endpoints.
mod form {
    use super::{Field, Kind};
    use crate::upload::Presence::{self, Optional, Required};

    const fn document(name: &'static str, presence: Presence, summary: &'static str) -> Field {
        Field { name, kind: Kind::Document, presence, summary }
    }

    const fn file(name: &'static str, presence: Presence, summary: &'static str) -> Field {
        Field { name, kind: Kind::File, presence, summary }
    }

    const fn text(name: &'static str, presence: Presence, summary: &'static str) -> Field {
        Field { name, kind: Kind::Text, presence, summary }
    }

    const CONFIRM: Field = text("confirm", Optional, "the same as the parameter `confirm`");
    const UPLOAD_ID: Field = text("upload", Optional, "the id of a complete upload, instead of the file");

    pub const BACKUP: &[Field] = &[text("action", Required, "START creates a backup, STOP stops and deletes it")];
    pub const BACKUP_RESTORE: &[Field] = &[
        file("archive", Optional, "a backup.tar; not with UNDO"),
        text("action", Optional, "UNDO rolls back the last restore"),
        UPLOAD_ID,
    ];
    pub const CERTS: &[Field] = &[
        document("public", Required, "the certificate, PEM"),
        document("private", Optional, "its key, PEM, not encrypted; default: the key of the pending request"),
        document("ca", Optional, "the certificates of its issuers, PEM"),
        CONFIRM,
    ];
    pub const CERTS_CSR: &[Field] = &[
        text("names", Optional, "host names and addresses, separated by commas"),
        text("key", Optional, "ec (the default) or rsa"),
        text("action", Optional, "FORGET removes the request and its key"),
    ];
    pub const LICENSE: &[Field] = &[document("license", Required, "an encrypted license")];
    pub const REBOOT: &[Field] =
        &[text("force", Optional, "`yes` restarts even if a running job would be interrupted")];
    pub const SETTINGS: &[Field] = &[document("settings", Required, "a settings.json with network and app"), CONFIRM];
    pub const SETUP: &[Field] = &[text("newtoken", Required, "1 to 255 characters of ASCII 33 to 126")];
    pub const STORAGE: &[Field] = &[document("settings", Required, "a settings.json with storage")];
    pub const TOKENS: &[Field] = &[
        text("name", Required, "1 to 32 letters, digits, `-` and `_`"),
        text("scope", Required, "read, operate or admin"),
        text("days", Optional, "days until it expires, 1 to 3650; default: never"),
    ];
    pub const TOKENS_REMOVE: &[Field] = &[text("name", Required, "the name of a token")];
    pub const UPDATE: &[Field] =
        &[file("update", Optional, "an encrypted software update; not with an upload"), UPLOAD_ID];
    pub const UPDATE_INSPECT: &[Field] = &[text("upload", Required, "the id of a complete upload")];
    pub const UPLOADS: &[Field] = &[
        text("for", Required, "update or restore"),
        text("length", Required, "bytes of the file, in decimal"),
        text("sha256", Optional, "SHA-256 of the file, 64 hexadecimal digits"),
    ];
}

/// The parameters of queries, named like their endpoints.
mod query {
    use super::Parameter;

    const fn parameter(name: &'static str, summary: &'static str) -> Parameter {
        Parameter { name, summary }
    }

    pub const AUDIT: &[Parameter] = &[
        parameter("before", "return entries with lower numbers than this; default: the newest"),
        parameter("limit", "how many, 1 to 100; default: 50"),
    ];
    pub const CONFIRM: &[Parameter] = &[parameter(
        "confirm",
        "seconds, 10 to 3600: the change is rolled back unless it is confirmed within this time",
    )];
    pub const HEALTH_HISTORY: &[Parameter] = &[parameter("range", "1h, 1d, 1w, 1m or 1y; default: 1h")];
    pub const JOB: &[Parameter] =
        &[parameter("wait", "seconds, 0 to 25: respond when something has changed, or after this time at the latest")];
    pub const REBOOT: &[Parameter] = &[parameter("force", "the same as the field `force`")];
}

/// Examples of responses, named like their endpoints.
mod example {
    pub const AUDIT: &str = r#"{"entries":[{"seq":2,"time":"2026-11-23T12:00:00.123456789Z","id":"8a1c6f0b2d3e4f50","action":"update.post","target":"","result":"done","client":"192.0.2.7","key":"ops","chain":"c01ba4d5a9a1d1b7b3f8d8d5a9c6c3f1a7c1e2d0a6b2f4c8e9d7a5b3c1f0e2d4"}],"next":2}"#;
    pub const BACKUP: &str = r#"{"status":"success","filesize":"128.0K","sha256":"6e31a817eb93270848e3c0b3c1d0c2bfa077fbb318f58a2bcbdec8f69f0dd420"}"#;
    pub const BUILD: &str = r#"{"builddate":"123456789"}"#;
    pub const CERTS: &str =
        r#"{"status":"success","log":"[1459884203][SYSTEM] Validating and adding TLS certificates"}"#;
    pub const ENDPOINTS: &str = r#"{"endpoints":["/api/v1/admin/version","/docs"]}"#;
    pub const HEALTH: &str = r#"{"disk":{"used":"3.4G","total":"234G","percentage":2},"memory":{"used":"260M","total":"1000M","percentage":26},"cpu":{"num":1,"load":"0.66, 0.28, 0.14","cpu5min":0}}"#;
    pub const HEALTH_HISTORY: &str = r#"{"range":"1h","step":60,"start":1432140922,"series":{"cpu":[1.5],"memory":[26.0],"disk":[2.0],"network_in":[100.0],"network_out":[null]}}"#;
    pub const JOBS: &str = r#"{"jobs":[{"id":"8a1c6f0b2d3e4f50","job":"update","key":"ops","status":"running","started":"2026-11-23T12:00:00Z","step":"Starting update to 1.0.1","heartbeat":"2026-11-23T12:01:00Z","percentage":70},{"id":"0b2d3e4f508a1c6f","job":"backup","argument":"START","key":"admin","status":"success","started":"2026-11-23T11:00:00Z","ended":"2026-11-23T11:00:09Z"}]}"#;
    pub const JOB: &str = r#"{"id":"8a1c6f0b2d3e4f50","job":"update","key":"ops","status":"failed","started":"2026-11-23T12:00:00Z","ended":"2026-11-23T12:03:00Z","error-message":"Error running update","error-code":"E1002"}"#;
    pub const LICENSE: &str = r#"{"app":"enterprise","users":20,"expires":"19 January 2038","name":"Enterprise Company","contact":"cto@enterprise"}"#;
    pub const MACHINE: &str = r#"{"hostname":"test.host","timezone":"Europe/Berlin","started":"2026-11-23T12:00:00Z","interfaces":[{"name":"eth0","link":true,"addresses":["192.168.1.100/24"]}]}"#;
    pub const SERVICES: &str = r#"{"services":[{"openssh":"running"},{"jidoteki-admin-api":"running"}]}"#;
    pub const SETTINGS: &str =
        r#"{"network":{"mode":"dhcp","interface":"eth0","hostname":"test.host"},"app":{"name":"testapp"}}"#;
    pub const STORAGE: &str = r#"{"storage":{"type":"nfs","mount_options":"noacl,sync","ip":"192.168.1.100","share":"/nfs/storage"},"options":["local","nfs"]}"#;
    pub const TOKENS: &str = r#"{"you":{"name":"admin","scope":"admin"},"tokens":[{"name":"ops","scope":"operate","expires":"2027-02-24T12:00:00Z"}]}"#;
    pub const TOKENS_POST: &str =
        r#"{"Status":"200 OK","token":"5f3c1e0b7a9d2846c0b1f4e8d7a6935210fe4dcb8a79685746352413021f0e9d"}"#;
    pub const UPDATE: &str =
        r#"{"status":"success","percentage":100,"log":"[1432140922][SYSTEM] Updating system successful"}"#;
    pub const UPDATE_INSPECT: &str =
        r#"{"version":"1.0.1","version-before":"1.0.0","signature":"valid","changelog":"1.0.1: fixes"}"#;
    pub const UPLOADS: &str = r#"{"uploads":[{"id":"8a1c6f0b2d3e4f508a1c6f0b2d3e4f50","for":"update","length":20971520,"offset":8388608,"complete":false,"started":"2026-11-23T12:00:00Z"}]}"#;
    pub const UPLOADS_POST: &str = r#"{"Status":"201 Created","Location":"/api/v1/admin/uploads/8a1c6f0b2d3e4f508a1c6f0b2d3e4f50","Upload":"8a1c6f0b2d3e4f508a1c6f0b2d3e4f50","Length":20971520,"Offset":0,"Piece":67108864}"#;
    pub const UPLOAD: &str = r#"{"id":"8a1c6f0b2d3e4f508a1c6f0b2d3e4f50","for":"update","length":20971520,"offset":8388608,"complete":false,"started":"2026-11-23T12:00:00Z"}"#;
    pub const VERSION: &str = r#"{"version":"1.0.0"}"#;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_none_occurs_twice() {
        let keys: Vec<_> = ROUTES.iter().map(|route| (route.path, route.method)).collect();
        let mut sorted = keys.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(keys, sorted);
    }

    #[test]
    fn only_post_has_a_form_and_every_post_is_documented() {
        for route in ROUTES {
            assert!(route.fields.is_empty() || route.method == Verb::Post, "{}", route.path);
            assert!(!route.summary.is_empty() && !route.summary.ends_with('.'), "{}", route.path);
        }
    }

    #[test]
    fn every_path_has_the_prefix_but_the_page() {
        for route in ROUTES {
            assert!(route.path.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('/')) || route.path == "/docs");
        }
    }

    #[test]
    fn every_example_is_json() {
        for route in ROUTES {
            if let Json(example) = route.success {
                assert!(crate::values::json::is_valid(example), "{example}");
                assert_eq!(crate::values::json::compact(example), example);
            }
        }
    }
}
