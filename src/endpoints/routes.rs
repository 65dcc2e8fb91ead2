//! `ROUTES`, the one table: dispatch, `GET /endpoints`, the fields that a form may have, `docs/openapi.json`, the page
//! `/docs` and the command `routes` all come from it.

use crate::caller::auth::{Admin, Caller};
use crate::endpoints::{self as to, Call};
use crate::http::error::Error;
use crate::http::request::{Method, Path};
use crate::http::response::Response;
use crate::upload::{Field, Kind, Presence};
use crate::values::config::{Config, Feature};
use crate::values::scope::Scope;

/// What every path but `/docs` begins with.
pub const PREFIX: &str = "/api/v1/admin";

/// What carries a request out, and whom it serves.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Anybody; the handler judges the caller itself.
    Open(fn(&mut Call<'_, '_>, &Caller) -> Result<Response, Error>),
    /// The administrator.
    Admin(fn(&mut Call<'_, '_>, Admin) -> Result<Response, Error>),
}

/// Whom a route serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// The administrator.
    Admin,
}

impl Handler {
    /// Whom it serves.
    pub fn access(&self) -> Access {
        match self {
            Handler::Open(_) => Access::Open,
            Handler::Admin(_) => Access::Admin,
        }
    }
}

/// The methods that routes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Read; `HEAD` is the same without the body.
    Get,
    /// Change.
    Post,
    /// Add to what is there.
    Patch,
    /// Take away.
    Delete,
}

impl Verb {
    /// The method as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }
}

/// What a route answers when it succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    /// 200 with JSON, such as this example.
    Json(&'static str),
    /// 200 with plain text.
    Text,
    /// 200 with a page.
    Page,
    /// 200 with a file of this name.
    Download(&'static str),
    /// 201 with JSON, such as this example.
    Created(&'static str),
    /// 204: the head says it all.
    Empty,
    /// 202: a job goes on in the background.
    Accepted,
}

/// A parameter that a route takes in the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub summary: &'static str,
}

/// One row: a method of a path.
pub struct Route {
    /// Its method.
    pub method: Verb,
    /// Its path, as it is routed and signed.
    pub path: &'static str,
    /// The part of the API that it belongs to; `None` for what cannot be disabled.
    pub feature: Option<Feature>,
    /// What a key must be allowed for it.
    pub scope: Scope,
    /// What carries it out.
    pub handler: Handler,
    /// The fields of its form.
    pub fields: &'static [Field],
    /// What it takes in the query, besides credentials.
    pub parameters: &'static [Parameter],
    /// What it answers when it succeeds.
    pub success: Success,
    /// Whether it answers 404 where there is nothing to tell.
    pub can_be_absent: bool,
    /// What it does, in a line.
    pub summary: &'static str,
}

impl Route {
    /// Whether it is at this path. `{id}` stands for the 16 hexadecimal digits of a job, `{upload}` for the 32 of an upload.
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

    /// Whether a page of another site must not be able to cause it.
    pub fn changes_state(&self) -> bool {
        self.method != Verb::Get || self.feature == Some(Feature::RebootByGet)
    }
}

const fn field(name: &'static str, kind: Kind, presence: Presence, summary: &'static str) -> Field {
    Field { name, kind, presence, summary }
}

const NONE: &[Field] = &[];
const NO_PARAMETERS: &[Parameter] = &[];
const CONFIRM: &[Parameter] = &[Parameter {
    name: "confirm",
    summary: "seconds, 10 to 3600: the change is undone unless it is confirmed within them",
}];
const CONFIRM_FIELD: Field =
    field("confirm", Kind::Text, Presence::Optional, "seconds, 10 to 3600, as the parameter of that name");
const UPLOAD_FIELD: Field =
    field("upload", Kind::Text, Presence::Optional, "the id of a complete upload, instead of the file");
const DONE: Success = Success::Json(r#"{"Status":"200 OK"}"#);
const LICENSE: Success = Success::Json(
    r#"{"app":"enterprise","users":20,"expires":"19 January 2038","name":"Enterprise Company","contact":"cto@enterprise"}"#,
);

macro_rules! path {
    ($endpoint:literal) => {
        concat!("/api/v1/admin", $endpoint)
    };
}

/// Every route, sorted by path and method.
pub const ROUTES: &[Route] = &[
    Route {
        method: Verb::Get,
        path: path!("/audit"),
        feature: Some(Feature::Audit),
        scope: Scope::Admin,
        handler: Handler::Admin(to::audit::get),
        fields: NONE,
        parameters: &[
            Parameter { name: "before", summary: "show entries with numbers less than this one; the newest if absent" },
            Parameter { name: "limit", summary: "how many, 1 to 100; 50 if absent" },
        ],
        success: Success::Json(
            r#"{"entries":[{"seq":2,"time":"2026-11-23T12:00:00.123456789Z","id":"8a1c6f0b2d3e4f50","action":"update.post","target":"","result":"done","client":"192.0.2.7","key":"ops","chain":"c01ba4d5a9a1d1b7b3f8d8d5a9c6c3f1a7c1e2d0a6b2f4c8e9d7a5b3c1f0e2d4"}],"next":2}"#,
        ),
        can_be_absent: true,
        summary: "The audit log, the newest entries first",
    },
    Route {
        method: Verb::Get,
        path: path!("/backup"),
        feature: Some(Feature::Backup),
        scope: Scope::Read,
        handler: Handler::Admin(to::backup::get),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(
            r#"{"status":"success","filesize":"128.0K","sha256":"6e31a817eb93270848e3c0b3c1d0c2bfa077fbb318f58a2bcbdec8f69f0dd420"}"#,
        ),
        can_be_absent: true,
        summary: "Status of the backup",
    },
    Route {
        method: Verb::Post,
        path: path!("/backup"),
        feature: Some(Feature::Backup),
        scope: Scope::Operate,
        handler: Handler::Admin(to::backup::post),
        fields: &[field("action", Kind::Text, Presence::Required, "START makes a backup, STOP stops or deletes it")],
        parameters: NO_PARAMETERS,
        success: Success::Accepted,
        can_be_absent: false,
        summary: "Makes or deletes a backup",
    },
    Route {
        method: Verb::Get,
        path: path!("/backup/download"),
        feature: Some(Feature::Backup),
        scope: Scope::Admin,
        handler: Handler::Admin(to::backup::file),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Download("backup.tar"),
        can_be_absent: true,
        summary: "The backup",
    },
    Route {
        method: Verb::Get,
        path: path!("/backup/log"),
        feature: Some(Feature::Backup),
        scope: Scope::Read,
        handler: Handler::Admin(to::backup::log),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Text,
        can_be_absent: true,
        summary: "Log of the backup",
    },
    Route {
        method: Verb::Post,
        path: path!("/backup/restore"),
        feature: Some(Feature::Backup),
        scope: Scope::Admin,
        handler: Handler::Admin(to::backup::restore),
        fields: &[
            field("archive", Kind::File, Presence::Optional, "a backup.tar; not with UNDO"),
            field("action", Kind::Text, Presence::Optional, "UNDO takes back the last restore"),
            UPLOAD_FIELD,
        ],
        parameters: NO_PARAMETERS,
        success: DONE,
        can_be_absent: false,
        summary: "Restores a backup, and answers when that is done",
    },
    Route {
        method: Verb::Get,
        path: path!("/build"),
        feature: None,
        scope: Scope::Read,
        handler: Handler::Admin(to::information::build),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(r#"{"builddate":"123456789"}"#),
        can_be_absent: true,
        summary: "How the image was built",
    },
    Route {
        method: Verb::Get,
        path: path!("/certs"),
        feature: Some(Feature::Certs),
        scope: Scope::Read,
        handler: Handler::Admin(to::certs::get),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(
            r#"{"status":"success","log":"[1459884203][SYSTEM] Validating and adding TLS certificates"}"#,
        ),
        can_be_absent: false,
        summary: "Status of the change of certificates",
    },
    Route {
        method: Verb::Post,
        path: path!("/certs"),
        feature: Some(Feature::Certs),
        scope: Scope::Admin,
        handler: Handler::Admin(to::certs::post),
        fields: &[
            field("public", Kind::Document, Presence::Required, "the certificate, PEM"),
            field(
                "private",
                Kind::Document,
                Presence::Optional,
                "its key, PEM, not encrypted; without it, the key of the request that waits",
            ),
            field("ca", Kind::Document, Presence::Optional, "the certificates between it and the root, PEM"),
            CONFIRM_FIELD,
        ],
        parameters: CONFIRM,
        success: Success::Accepted,
        can_be_absent: false,
        summary: "Puts a TLS certificate in force",
    },
    Route {
        method: Verb::Post,
        path: path!("/certs/confirm"),
        feature: Some(Feature::Certs),
        scope: Scope::Admin,
        handler: Handler::Admin(to::certs::confirm),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: DONE,
        can_be_absent: false,
        summary: "Keeps a certificate that waits to be confirmed",
    },
    Route {
        method: Verb::Get,
        path: path!("/certs/csr"),
        feature: Some(Feature::Certs),
        scope: Scope::Read,
        handler: Handler::Admin(to::certs::csr),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Text,
        can_be_absent: true,
        summary: "The request whose key waits for its certificate",
    },
    Route {
        method: Verb::Post,
        path: path!("/certs/csr"),
        feature: Some(Feature::Certs),
        scope: Scope::Admin,
        handler: Handler::Admin(to::certs::post_csr),
        fields: &[
            field("names", Kind::Text, Presence::Optional, "host names and addresses, parted by commas"),
            field("key", Kind::Text, Presence::Optional, "ec (the default) or rsa"),
            field("action", Kind::Text, Presence::Optional, "FORGET removes the request and its key"),
        ],
        parameters: NO_PARAMETERS,
        success: Success::Text,
        can_be_absent: false,
        summary: "Makes a key that stays on the appliance, and a request for a certificate",
    },
    Route {
        method: Verb::Post,
        path: path!("/certs/revert"),
        feature: Some(Feature::Certs),
        scope: Scope::Admin,
        handler: Handler::Admin(to::certs::revert),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Accepted,
        can_be_absent: false,
        summary: "Takes back a certificate that waits to be confirmed",
    },
    Route {
        method: Verb::Get,
        path: path!("/changelog"),
        feature: None,
        scope: Scope::Read,
        handler: Handler::Admin(to::information::changelog),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Text,
        can_be_absent: true,
        summary: "What changed with the last update",
    },
    Route {
        method: Verb::Get,
        path: path!("/debug"),
        feature: None,
        scope: Scope::Operate,
        handler: Handler::Admin(to::support::debug),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Download("debug-bundle.tar"),
        can_be_absent: true,
        summary: "Collects an encrypted bundle for the developers",
    },
    Route {
        method: Verb::Get,
        path: path!("/endpoints"),
        feature: None,
        scope: Scope::Read,
        handler: Handler::Admin(to::information::endpoints),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(r#"{"endpoints":["/api/v1/admin/version","/docs"]}"#),
        can_be_absent: false,
        summary: "The endpoints that are enabled",
    },
    Route {
        method: Verb::Get,
        path: path!("/health"),
        feature: None,
        scope: Scope::Read,
        handler: Handler::Admin(to::information::health),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(
            r#"{"disk":{"used":"3.4G","total":"234G","percentage":2},"memory":{"used":"260M","total":"1000M","percentage":26},"cpu":{"num":1,"load":"0.66, 0.28, 0.14","cpu5min":0}}"#,
        ),
        can_be_absent: true,
        summary: "Use of disk, memory and processor",
    },
    Route {
        method: Verb::Get,
        path: path!("/health/history"),
        feature: Some(Feature::Monitor),
        scope: Scope::Read,
        handler: Handler::Admin(to::information::history),
        fields: NONE,
        parameters: &[Parameter { name: "range", summary: "1h, 1d, 1w, 1m or 1y; 1h if absent" }],
        success: Success::Json(
            r#"{"range":"1h","step":60,"start":1432140922,"series":{"cpu":[1.5],"memory":[26.0],"disk":[2.0],"network_in":[100.0],"network_out":[null]}}"#,
        ),
        can_be_absent: true,
        summary: "Use of processor, memory, disk and network over time",
    },
    Route {
        method: Verb::Get,
        path: path!("/jobs"),
        feature: None,
        scope: Scope::Read,
        handler: Handler::Admin(to::jobs::list),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(
            r#"{"jobs":[{"id":"8a1c6f0b2d3e4f50","job":"update","key":"ops","status":"running","started":"2026-11-23T12:00:00Z","step":"Starting update to 1.0.1","heartbeat":"2026-11-23T12:01:00Z","percentage":70},{"id":"0b2d3e4f508a1c6f","job":"backup","argument":"START","key":"admin","status":"success","started":"2026-11-23T11:00:00Z","ended":"2026-11-23T11:00:09Z"}]}"#,
        ),
        can_be_absent: false,
        summary: "The jobs that run, then the last hundred that have ended",
    },
    Route {
        method: Verb::Get,
        path: path!("/jobs/{id}"),
        feature: None,
        scope: Scope::Read,
        handler: Handler::Admin(to::jobs::get),
        fields: NONE,
        parameters: &[Parameter {
            name: "wait",
            summary: "seconds, 0 to 25: answer when something has changed, or after so long",
        }],
        success: Success::Json(
            r#"{"id":"8a1c6f0b2d3e4f50","job":"update","key":"ops","status":"failed","started":"2026-11-23T12:00:00Z","ended":"2026-11-23T12:03:00Z","error-message":"Error running update","error-code":"E1002"}"#,
        ),
        can_be_absent: true,
        summary: "One job, by the id that a 202 has as `Job`",
    },
    Route {
        method: Verb::Get,
        path: path!("/license"),
        feature: Some(Feature::License),
        scope: Scope::Read,
        handler: Handler::Admin(to::license::get),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: LICENSE,
        can_be_absent: true,
        summary: "The licence",
    },
    Route {
        method: Verb::Post,
        path: path!("/license"),
        feature: Some(Feature::License),
        scope: Scope::Admin,
        handler: Handler::Admin(to::license::post),
        fields: &[field("license", Kind::Document, Presence::Required, "an encrypted licence")],
        parameters: NO_PARAMETERS,
        success: LICENSE,
        can_be_absent: true,
        summary: "Puts a licence in force, and answers with it",
    },
    Route {
        method: Verb::Get,
        path: path!("/logs"),
        feature: None,
        scope: Scope::Operate,
        handler: Handler::Admin(to::support::logs),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Download("logs.tar.gz"),
        can_be_absent: true,
        summary: "Collects the logs",
    },
    Route {
        method: Verb::Get,
        path: path!("/reboot"),
        feature: Some(Feature::RebootByGet),
        scope: Scope::Operate,
        handler: Handler::Admin(to::reboot::get),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Accepted,
        can_be_absent: false,
        summary: "Restarts the appliance, after a backup",
    },
    Route {
        method: Verb::Post,
        path: path!("/reboot"),
        feature: Some(Feature::RebootByPost),
        scope: Scope::Operate,
        handler: Handler::Admin(to::reboot::post),
        fields: &[field(
            "force",
            Kind::Text,
            Presence::Optional,
            "`yes` restarts although a job is running that a restart cuts off",
        )],
        parameters: &[Parameter { name: "force", summary: "as the field of that name" }],
        success: Success::Accepted,
        can_be_absent: false,
        summary: "Restarts the appliance, after a backup",
    },
    Route {
        method: Verb::Get,
        path: path!("/services"),
        feature: None,
        scope: Scope::Read,
        handler: Handler::Admin(to::services::get),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(r#"{"services":[{"openssh":"running"},{"jidoteki-admin-api":"running"}]}"#),
        can_be_absent: false,
        summary: "Status of the services",
    },
    Route {
        method: Verb::Get,
        path: path!("/settings"),
        feature: Some(Feature::Settings),
        scope: Scope::Read,
        handler: Handler::Admin(to::settings::get),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(
            r#"{"network":{"mode":"dhcp","interface":"eth0","hostname":"test.host"},"app":{"name":"testapp"}}"#,
        ),
        can_be_absent: true,
        summary: "Network and application settings",
    },
    Route {
        method: Verb::Post,
        path: path!("/settings"),
        feature: Some(Feature::Settings),
        scope: Scope::Admin,
        handler: Handler::Admin(to::settings::post),
        fields: &[
            field("settings", Kind::Document, Presence::Required, "a settings.json with network and app"),
            CONFIRM_FIELD,
        ],
        parameters: CONFIRM,
        success: Success::Accepted,
        can_be_absent: false,
        summary: "Puts network and application settings in force",
    },
    Route {
        method: Verb::Post,
        path: path!("/settings/confirm"),
        feature: Some(Feature::Settings),
        scope: Scope::Admin,
        handler: Handler::Admin(to::settings::confirm),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: DONE,
        can_be_absent: false,
        summary: "Keeps settings that wait to be confirmed",
    },
    Route {
        method: Verb::Post,
        path: path!("/settings/revert"),
        feature: Some(Feature::Settings),
        scope: Scope::Admin,
        handler: Handler::Admin(to::settings::revert),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Accepted,
        can_be_absent: false,
        summary: "Takes back settings that wait to be confirmed",
    },
    Route {
        method: Verb::Post,
        path: path!("/setup"),
        feature: None,
        scope: Scope::Admin,
        handler: Handler::Open(to::setup::post),
        fields: &[field("newtoken", Kind::Text, Presence::Required, "1 to 255 characters of ASCII 33 to 126")],
        parameters: NO_PARAMETERS,
        success: DONE,
        can_be_absent: false,
        summary: "Sets the API token; the first time without credentials",
    },
    Route {
        method: Verb::Get,
        path: path!("/storage"),
        feature: Some(Feature::Storage),
        scope: Scope::Admin,
        handler: Handler::Admin(to::storage::get),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(
            r#"{"storage":{"type":"nfs","mount_options":"noacl,sync","ip":"192.168.1.100","share":"/nfs/storage"},"options":["local","nfs"]}"#,
        ),
        can_be_absent: true,
        summary: "Storage settings, and the types that this appliance offers",
    },
    Route {
        method: Verb::Post,
        path: path!("/storage"),
        feature: Some(Feature::Storage),
        scope: Scope::Admin,
        handler: Handler::Admin(to::storage::post),
        fields: &[field("settings", Kind::Document, Presence::Required, "a settings.json with storage")],
        parameters: NO_PARAMETERS,
        success: Success::Accepted,
        can_be_absent: false,
        summary: "Changes the storage; in force after a restart",
    },
    Route {
        method: Verb::Post,
        path: path!("/storage/undo"),
        feature: Some(Feature::Storage),
        scope: Scope::Admin,
        handler: Handler::Admin(to::storage::undo),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Accepted,
        can_be_absent: false,
        summary: "Takes the last change of the storage back",
    },
    Route {
        method: Verb::Get,
        path: path!("/tokens"),
        feature: None,
        scope: Scope::Read,
        handler: Handler::Admin(to::tokens::get),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(
            r#"{"you":{"name":"admin","scope":"admin"},"tokens":[{"name":"ops","scope":"operate","expires":"2027-02-24T12:00:00Z"}]}"#,
        ),
        can_be_absent: false,
        summary: "Which token is calling, and the named tokens",
    },
    Route {
        method: Verb::Post,
        path: path!("/tokens"),
        feature: None,
        scope: Scope::Admin,
        handler: Handler::Admin(to::tokens::add),
        fields: &[
            field("name", Kind::Text, Presence::Required, "1 to 32 letters, digits, `-` and `_`"),
            field("scope", Kind::Text, Presence::Required, "read, operate or admin"),
            field("days", Kind::Text, Presence::Optional, "days after which it ends, 1 to 3650; never if absent"),
        ],
        parameters: NO_PARAMETERS,
        success: Success::Json(
            r#"{"Status":"200 OK","token":"5f3c1e0b7a9d2846c0b1f4e8d7a6935210fe4dcb8a79685746352413021f0e9d"}"#,
        ),
        can_be_absent: false,
        summary: "Makes a named token, and answers with it once",
    },
    Route {
        method: Verb::Post,
        path: path!("/tokens/remove"),
        feature: None,
        scope: Scope::Admin,
        handler: Handler::Admin(to::tokens::remove),
        fields: &[field("name", Kind::Text, Presence::Required, "the name of a token")],
        parameters: NO_PARAMETERS,
        success: DONE,
        can_be_absent: false,
        summary: "Removes a named token at once",
    },
    Route {
        method: Verb::Get,
        path: path!("/update"),
        feature: None,
        scope: Scope::Read,
        handler: Handler::Admin(to::update::get),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(
            r#"{"status":"success","percentage":100,"log":"[1432140922][SYSTEM] Updating system successful"}"#,
        ),
        can_be_absent: false,
        summary: "Status of the update",
    },
    Route {
        method: Verb::Post,
        path: path!("/update"),
        feature: None,
        scope: Scope::Operate,
        handler: Handler::Admin(to::update::post),
        fields: &[
            field("update", Kind::File, Presence::Optional, "an encrypted software update; not with an upload"),
            UPLOAD_FIELD,
        ],
        parameters: NO_PARAMETERS,
        success: Success::Accepted,
        can_be_absent: false,
        summary: "Installs a software update",
    },
    Route {
        method: Verb::Get,
        path: path!("/update/log"),
        feature: None,
        scope: Scope::Read,
        handler: Handler::Admin(to::update::log),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Text,
        can_be_absent: true,
        summary: "Log of the update",
    },
    Route {
        method: Verb::Get,
        path: path!("/uploads"),
        feature: None,
        scope: Scope::Operate,
        handler: Handler::Admin(to::uploads::list),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(
            r#"{"uploads":[{"id":"8a1c6f0b2d3e4f508a1c6f0b2d3e4f50","for":"update","length":20971520,"offset":8388608,"complete":false,"started":"2026-11-23T12:00:00Z"}]}"#,
        ),
        can_be_absent: false,
        summary: "The open uploads of the caller",
    },
    Route {
        method: Verb::Post,
        path: path!("/uploads"),
        feature: None,
        scope: Scope::Operate,
        handler: Handler::Admin(to::uploads::post),
        fields: &[
            field("for", Kind::Text, Presence::Required, "update or restore"),
            field("length", Kind::Text, Presence::Required, "bytes of the file, in decimal"),
            field("sha256", Kind::Text, Presence::Optional, "SHA-256 of the file, 64 hexadecimal digits"),
        ],
        parameters: NO_PARAMETERS,
        success: Success::Created(
            r#"{"Status":"201 Created","Location":"/api/v1/admin/uploads/8a1c6f0b2d3e4f508a1c6f0b2d3e4f50","Upload":"8a1c6f0b2d3e4f508a1c6f0b2d3e4f50","Length":20971520,"Offset":0,"Piece":8388608}"#,
        ),
        can_be_absent: false,
        summary: "Opens an upload that comes in pieces",
    },
    Route {
        method: Verb::Get,
        path: path!("/uploads/{upload}"),
        feature: None,
        scope: Scope::Operate,
        handler: Handler::Admin(to::uploads::get),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(
            r#"{"id":"8a1c6f0b2d3e4f508a1c6f0b2d3e4f50","for":"update","length":20971520,"offset":8388608,"complete":false,"started":"2026-11-23T12:00:00Z"}"#,
        ),
        can_be_absent: true,
        summary: "Where an upload continues; HEAD tells it in headers alone, and is 204",
    },
    Route {
        method: Verb::Patch,
        path: path!("/uploads/{upload}"),
        feature: None,
        scope: Scope::Operate,
        handler: Handler::Admin(to::uploads::patch),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Empty,
        can_be_absent: true,
        summary: "Sends the next piece of an upload",
    },
    Route {
        method: Verb::Delete,
        path: path!("/uploads/{upload}"),
        feature: None,
        scope: Scope::Operate,
        handler: Handler::Admin(to::uploads::delete),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Empty,
        can_be_absent: true,
        summary: "Removes an upload",
    },
    Route {
        method: Verb::Get,
        path: path!("/version"),
        feature: None,
        scope: Scope::Read,
        handler: Handler::Admin(to::information::version),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Json(r#"{"version":"1.0.0"}"#),
        can_be_absent: true,
        summary: "Version of the appliance",
    },
    Route {
        method: Verb::Get,
        path: "/docs",
        feature: None,
        scope: Scope::Read,
        handler: Handler::Open(to::docs::get),
        fields: NONE,
        parameters: NO_PARAMETERS,
        success: Success::Page,
        can_be_absent: false,
        summary: "This API in one page",
    },
];

/// The rows of one path that are enabled; never empty.
pub struct Resource(Vec<&'static Route>);

/// Finds what is at a path. A disabled endpoint is not there.
pub fn find(path: &Path, config: &Config) -> Option<Resource> {
    let rows: Vec<_> =
        ROUTES.iter().filter(|route| route.is_at(path.canonical()) && config.is_enabled(route.feature)).collect();
    (!rows.is_empty()).then_some(Resource(rows))
}

impl Resource {
    /// The row for a method, or the fault of a method that is none of this path's.
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

    /// Whether the path serves anybody, whatever the method.
    pub fn is_public(&self) -> bool {
        self.0[0].path == "/docs"
    }
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
            if let Success::Json(example) = route.success {
                assert!(crate::values::json::is_valid(example), "{example}");
                assert_eq!(crate::values::json::compact(example), example);
            }
        }
    }
}
