//! The appliance as a client sees it: connects to its own TLS port.
//!
//! Files show what should be true; only the port shows what is. `openssl s_client` provides TLS: every appliance has it
//! for the certificate jobs. It sends the bytes of a request from standard input, where no other process can read them.
//! Only its exit status, the bytes of responses and the certificate in PEM are used.

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
/// A path that does not exist.
const NOWHERE: &str = "/api/v1/admin/nothing-of-this-name";
/// The names of our own servers.
const SERVERS: [&str; 3] = ["nginx", "lighttpd", "systemd"];
/// The TLS versions to try, with their names in `openssl` and in configurations.
const VERSIONS: [(&str, &str); 3] = [("-tls1_1", "TLSv1.1"), ("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")];
const PATIENCE: Duration = Duration::from_secs(60);

/// A server's response.
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
                format_args!("port {port} is used by another program, {holder}"),
                format_args!("stop that program, then {restart}"),
            );
        }
        if TcpStream::connect_timeout(&address, PATIENCE).is_err() {
            return self.add(
                Severity::Error,
                format_args!("nothing answers on port {port}"),
                format_args!("{restart}; journalctl -u jidoteki-admin-api -u nginx shows why it ended"),
            );
        }
        let ask = |head: &str| ask(machine, port, head);
        let Some(nowhere) = ask(&get(NOWHERE, "")) else {
            return self.add(
                Severity::Error,
                format_args!("the program on port {port} does not speak TLS or HTTP"),
                format_args!("{restart}; openssl s_client -connect localhost:{port} shows its response"),
            );
        };
        if nowhere.status != 404 || !nowhere.text.contains("Not Found\"}") {
            return self.add(
                Severity::Error,
                format_args!(
                    "on port {port}, an unknown path returns status {} instead of the API's 404 as JSON",
                    nowhere.status
                ),
                format_args!("{AGAIN}; the web server passes requests to another program"),
            );
        }
        let docs = ask(&get("/docs", ""));
        if docs.as_ref().is_none_or(|answer| answer.status != 200) {
            self.add(
                Severity::Error,
                format_args!("GET /docs on port {port} returns status {}", docs.map_or(0, |docs| docs.status)),
                format_args!("{AGAIN}; the web server does not pass every path to the API"),
            );
        }
        self.limit(appliance, machine, port);
        self.versions(appliance, machine, port);
        // Show a credential only to the holder of our own key.
        if self.served_certificate(appliance, machine, port) {
            self.job_comes_back(appliance, machine, port);
        }
    }

    /// Whether the served certificate is the one in use, also if the image stores it elsewhere.
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
                format_args!("the certificate served on port {port} is not {}", path.display()),
                format_args!("{} reload", appliance.admin().join("bin/web-server.sh").display()),
            );
        }
        is_own
    }

    /// Whether a job runs and returns, requested as a client would: with a signed request.
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
                format_args!(
                    "jobs do not work on port {port}: GET {path} with a valid signature returns status {status}"
                ),
                format_args!("see /var/log/jidoteki-admin-api/error.log, and {}", appliance.log_file("").display()),
            );
        }
    }

    /// Whether the web server accepts the largest upload that the API allows: sends only its head.
    fn limit(&mut self, appliance: &Appliance, machine: &Machine, port: u16) {
        let promised = appliance.config().max_upload;
        let head = format!(
            "POST {NOWHERE} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: multipart/form-data; boundary=x\r\n\
             Content-Length: {promised}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        );
        // The program has a lower limit for unauthenticated clients; this check is about the web server.
        let limit_of = |text: &str| text.split("the limit is ").nth(1)?.split(' ').next()?.parse::<u64>().ok();
        let is_programs = |text: &str| limit_of(text).is_some_and(|limit| limit <= upload::MAX_UNIDENTIFIED);
        if ask(machine, port, &head).is_some_and(|answer| answer.status == 413 && !is_programs(&answer.text)) {
            self.add(
                Severity::Error,
                format_args!(
                    "the web server on port {port} refuses an upload of {promised} bytes, the max-upload-bytes"
                ),
                format_args!("run ./install.sh again; it configures the web server"),
            );
        }
    }

    /// Whether the lowest served TLS version is the configured one.
    fn versions(&mut self, appliance: &Appliance, machine: &Machine, port: u16) {
        let server = appliance.trimmed_text(&appliance.etc_file("web-server.txt")).unwrap_or_default();
        let Some(least) = configured_minimum(&server, machine) else { return };
        let to = format!("127.0.0.1:{port}");
        for (at, (option, name)) in VERSIONS.iter().enumerate() {
            // Old versions need a lower security level in openssl.
            let arguments = ["s_client", "-connect", &to, option, "-cipher", "DEFAULT@SECLEVEL=0"];
            let Some(said) = machine.ask("openssl", &arguments) else { return };
            let (is_served, is_wanted) = (said.is_good, at >= least);
            if is_served && !is_wanted {
                self.add(
                    Severity::Error,
                    format_args!(
                        "{name} is accepted on port {port}, although the configured minimum is {}",
                        VERSIONS[least].1
                    ),
                    format_args!("{AGAIN}; another site of {server} on this port may override it"),
                );
            } else if is_wanted && !is_served {
                self.add(
                    Severity::Warning,
                    format_args!("{name} is configured, but not accepted on port {port}"),
                    format_args!("{AGAIN}; another site of {server} on this port may override it"),
                );
            }
        }
    }
}

/// The index in `VERSIONS` of the lowest version in the server's configuration.
fn configured_minimum(server: &str, machine: &Machine) -> Option<usize> {
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
    // "TLSv1" is a prefix of every name, so the search includes the next character.
    VERSIONS
        .iter()
        .position(|(_, name)| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').any(|word| word == *name))
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n")
}

/// Sends a head over TLS, and reads until the server closes, or asks for the body, which does not exist.
fn ask(machine: &Machine, port: u16, head: &str) -> Option<Answer> {
    let to = format!("127.0.0.1:{port}");
    let is_enough = |answer: &[u8]| answer.starts_with(b"HTTP/1.1 100") || answer.starts_with(b"HTTP/1.1 413");
    let answer =
        machine.converse("openssl", &["s_client", "-quiet", "-connect", &to], head.as_bytes(), PATIENCE, is_enough);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some(Answer { status, text })
}

/// The first certificate in a text, without white space.
fn first_pem(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    Some(body.split_whitespace().collect())
}
