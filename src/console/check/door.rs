//! The appliance as a client sees it: what answers at its own TLS port is asked, over TLS.
//!
//! Files say what should be so; only the port says what is. `openssl s_client` speaks TLS for us: every appliance has it,
//! since the jobs for certificates need it, and it sends the bytes of a request as they are, from its standard input, where
//! no other process can read them. Only its exit status, the bytes of answers and the certificate in PEM are looked at.

use super::{AGAIN, Findings, Severity};
use crate::appliance::Appliance;
use crate::appliance::keys;
use crate::caller::first_run::{self, FirstRun};
use crate::console::machine::Machine;
use crate::upload;
use crate::values::clock;
use crate::values::random;
use crate::values::signature::base64;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const PREFIX: &str = "/api/v1/admin";
/// A path that is none of ours.
const NOWHERE: &str = "/api/v1/admin/nothing-of-this-name";
/// What all our own servers are.
const SERVERS: [&str; 3] = ["nginx", "lighttpd", "systemd"];
/// The versions of TLS that a server can be asked for, as `openssl` and as configurations call them.
const VERSIONS: [(&str, &str); 3] = [("-tls1_1", "TLSv1.1"), ("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")];
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server answered.
struct Answer {
    status: u16,
    text: String,
}

impl Findings {
    pub(super) fn door(&mut self, appliance: &Appliance, machine: &Machine) {
        let Some(port) = machine.port else { return };
        let restart = "systemctl restart jidoteki-admin-api; with nginx also systemctl restart nginx";
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let holder = machine.listener(port);
        if let Some(holder) = holder.filter(|name| !SERVERS.contains(&name.as_str())) {
            return self.add(
                Severity::Error,
                format_args!("port {port} is taken by another program, {holder}"),
                format_args!("stop that program, then {restart}"),
            );
        }
        if TcpStream::connect_timeout(&address, PATIENCE).is_err() {
            return self.add(
                Severity::Error,
                format_args!("nobody answers at port {port}"),
                format_args!("{restart}; journalctl -u jidoteki-admin-api -u nginx says why it ended"),
            );
        }
        let ask = |head: &str| ask(machine, port, head);
        let Some(nowhere) = ask(&get(NOWHERE, "")) else {
            return self.add(
                Severity::Error,
                format_args!("what answers at port {port} speaks no TLS, or no HTTP"),
                format_args!("{restart}; openssl s_client -connect localhost:{port} shows what it says"),
            );
        };
        if nowhere.status != 404 || !nowhere.text.contains("Not Found\"}") {
            return self.add(
                Severity::Error,
                format_args!(
                    "at port {port} an unknown path is answered with status {}, and not by the API with 404 as JSON",
                    nowhere.status
                ),
                format_args!("{AGAIN}; the web server hands requests to somebody else"),
            );
        }
        let docs = ask(&get("/docs", ""));
        if docs.as_ref().is_none_or(|answer| answer.status != 200) {
            self.add(
                Severity::Error,
                format_args!("GET /docs at port {port} is answered with status {}", docs.map_or(0, |docs| docs.status)),
                format_args!("{AGAIN}; the web server does not hand every path to the API"),
            );
        }
        self.limit(appliance, machine, port);
        self.versions(appliance, machine, port);
        // A credential is shown only to the holder of our own key.
        if self.served_certificate(appliance, machine, port) {
            self.job_comes_back(appliance, machine, port);
        }
    }

    /// Whether the certificate that is served is the one in force; also where the image keeps it elsewhere.
    fn served_certificate(&mut self, appliance: &Appliance, machine: &Machine, port: u16) -> bool {
        let path = appliance.etc().join("tls/current/appliance.pem");
        let Some(own) = std::fs::read_to_string(&path).ok().and_then(|text| first_pem(&text)) else {
            return !path.exists();
        };
        let to = format!("127.0.0.1:{port}");
        let said = machine.ask("openssl", &["s_client", "-connect", &to]).map(|said| said.text).unwrap_or_default();
        let is_own = first_pem(&said).is_some_and(|served| served == own);
        if !is_own {
            self.add(
                Severity::Error,
                format_args!("the certificate that is served at port {port} is not {}", path.display()),
                format_args!("{} reload", appliance.admin().join("bin/web-server.sh").display()),
            );
        }
        is_own
    }

    /// Whether a job starts and comes back, asked as a client would: by a signed request.
    fn job_comes_back(&mut self, appliance: &Appliance, machine: &Machine, port: u16) {
        let (FirstRun::NotConfigured | FirstRun::Done, Some(token)) = first_run::state(appliance, &appliance.config())
        else {
            return;
        };
        let Ok(nonce) = random::bytes::<16>() else { return };
        let path = format!("{PREFIX}/services");
        let parameters =
            format!("(\"@method\" \"@path\" \"@query\");created={};nonce=\"{}\"", clock::now(), hex::encode(nonce));
        let base = format!("\"@method\": GET\n\"@path\": {path}\n\"@query\": ?\n\"@signature-params\": {parameters}");
        let tag = base64(&keys::first(&token).verifier.tag_of_text(&base));
        let headers = format!("Signature-Input: check={parameters}\r\nSignature: check=:{tag}:\r\n");
        let answer = ask(machine, port, &get(&path, &headers));
        if answer.as_ref().is_none_or(|answer| answer.status != 200) {
            let status = answer.map_or(0, |answer| answer.status);
            self.add(
                Severity::Error,
                format_args!("no job comes back at port {port}: GET {path}, with a good signature, is answered with status {status}"),
                format_args!("see /var/log/jidoteki-admin-api/error.log, and {}", appliance.log_file("").display()),
            );
        }
    }

    /// Whether the web server lets an upload through that is as large as the API promises: by its head alone.
    fn limit(&mut self, appliance: &Appliance, machine: &Machine, port: u16) {
        let promised = appliance.config().max_upload;
        let head = format!(
            "POST {NOWHERE} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: multipart/form-data; boundary=x\r\n\
             Content-Length: {promised}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        );
        // The program has a narrower limit for a stranger, and it is the web server that is asked.
        let limit_of = |text: &str| text.split("the limit is ").nth(1)?.split(' ').next()?.parse::<u64>().ok();
        let is_programs = |text: &str| limit_of(text).is_some_and(|limit| limit <= upload::MAX_UNIDENTIFIED);
        if ask(machine, port, &head).is_some_and(|answer| answer.status == 413 && !is_programs(&answer.text)) {
            self.add(
                Severity::Error,
                format_args!(
                    "the web server at port {port} refuses an upload of {promised} bytes, the max-upload-bytes"
                ),
                format_args!("run ./install.sh again: it tells the web server"),
            );
        }
    }

    /// Whether the versions of TLS that are served begin with the one that is configured.
    fn versions(&mut self, appliance: &Appliance, machine: &Machine, port: u16) {
        let server = appliance.trimmed_text(&appliance.etc_file("web-server.txt")).unwrap_or_default();
        let Some(least) = configured_least(&server, machine) else { return };
        let to = format!("127.0.0.1:{port}");
        for (at, (option, name)) in VERSIONS.iter().enumerate() {
            // The old ones are offered only at a level of security that allows them.
            let arguments = ["s_client", "-connect", &to, option, "-cipher", "DEFAULT@SECLEVEL=0"];
            let Some(said) = machine.ask("openssl", &arguments) else { return };
            let (is_served, is_wanted) = (said.is_good, at >= least);
            if is_served && !is_wanted {
                self.add(
                    Severity::Error,
                    format_args!(
                        "{name} is served at port {port}, although {} is the least that is configured",
                        VERSIONS[least].1
                    ),
                    format_args!("{AGAIN}; another site of {server} at this port may say otherwise"),
                );
            } else if is_wanted && !is_served {
                self.add(
                    Severity::Warning,
                    format_args!("{name} is configured, but not served at port {port}"),
                    format_args!("{AGAIN}; another site of {server} at this port may say otherwise"),
                );
            }
        }
    }
}

/// The place in `VERSIONS` of the least that the server's configuration names.
fn configured_least(server: &str, machine: &Machine) -> Option<usize> {
    let word = match server {
        "nginx" => "ssl_protocols",
        "lighttpd" => "\"MinProtocol\"",
        _ => return None,
    };
    let mut text = machine.text(&format!("/etc/jidoteki-admin-api/{server}.conf"));
    if server == "nginx" {
        text += &machine.text("/etc/nginx/sites-available/jidoteki-admin-api");
    }
    let line = text.lines().find(|line| line.trim_start().starts_with(word))?;
    // "TLSv1" is the beginning of every name, and so it is looked for with what follows it.
    VERSIONS
        .iter()
        .position(|(_, name)| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').any(|word| word == *name))
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n")
}

/// Sends a head over TLS, and reads until the server closes, or until it has asked for a body that we do not have.
fn ask(machine: &Machine, port: u16, head: &str) -> Option<Answer> {
    let to = format!("127.0.0.1:{port}");
    let is_enough = |answer: &[u8]| answer.starts_with(b"HTTP/1.1 100") || answer.starts_with(b"HTTP/1.1 413");
    let answer =
        machine.converse("openssl", &["s_client", "-quiet", "-connect", &to], head.as_bytes(), PATIENCE, is_enough);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some(Answer { status, text })
}

/// The first certificate in a text, without what may differ in the writing of it.
fn first_pem(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    Some(body.split_whitespace().collect())
}
