//! Keeps the documents consistent with the code. `UPDATE_DOCS=1 cargo test` regenerates the table of requests.
//!
//! An example in docs/API.md is an `http` block: the request line, a line `name=value` for each form field, an empty
//! line, and the response. Only the listed headers are compared. The body is compared completely; `...` matches any.
//! Each example has its own appliance (`fixture.rs`). A comment before it creates a file, `<!-- given: etc/version.txt
//! = 1.2.3 -->`, or removes one, `= nothing`. After `<!-- then -->`, an example continues with the appliance of the one
//! before. In a `PATCH`, headers stand in place of the fields, and the body after them. All uploads
//! have the same id in the examples, which stands for the real one.

use crate::contract::form;
use crate::support::Fixture;
use jidoteki_admin_api::endpoints::routes::{Handler, PREFIX, ROUTES, Route, Success, Verb};
use jidoteki_admin_api::upload::Presence;
use jidoteki_admin_api::values::json;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const BINARY: &str = env!("CARGO_BIN_EXE_jidoteki-admin-api");

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every file below a directory, by its path from the project's root.
fn files(folder: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true if name.ends_with("/node_modules") => {}
            true => names.extend(files(&name)),
            false => names.push(name),
        }
    }
    names.sort();
    names
}

/// The documents for people.
fn documents() -> Vec<String> {
    let docs = files("docs").into_iter().filter(|name| has_extension(name, "md"));
    docs.chain(["README.md".to_owned()]).collect()
}

fn has_extension(name: &str, wanted: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == wanted)
}

#[track_caller]
fn report(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n  {}", faults.join("\n  "));
}

// --- the reference against the table and the executable ---

fn short(route: &Route) -> &'static str {
    route.path.strip_prefix(PREFIX).unwrap_or(route.path)
}

/// GitHub's anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn table() -> String {
    let mut table =
        "| Request | What it does | Form and query | Answer | Scope | Enabled by |\n| --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for route in ROUTES {
        let heading = format!("{} {}", route.method.as_str(), short(route));
        let fields = route.fields.iter().map(|field| match field.presence {
            Presence::Required => format!("`{}`", field.name),
            Presence::Optional => format!("`{}` (optional)", field.name),
        });
        let parameters = route.parameters.iter().map(|parameter| format!("`?{}=`", parameter.name));
        let takes: Vec<String> = fields.chain(parameters).collect();
        let mut answer = match route.success {
            Success::Json(_) => "200, JSON".to_owned(),
            Success::Text => "200, text".to_owned(),
            Success::Page => "200, a page".to_owned(),
            Success::Download(name) => format!("200, `{name}`"),
            Success::Accepted => "202".to_owned(),
            Success::Created(_) => "201, JSON".to_owned(),
            Success::Empty => "204".to_owned(),
        };
        if route.can_be_absent {
            answer.push_str(", or 404");
        }
        let scope = match route.handler {
            Handler::Scoped(scope, _) => format!("`{}`", scope.name()),
            Handler::Public(_) | Handler::Open(_) => String::new(),
        };
        let feature = route.feature.map_or_else(String::new, |feature| format!("`{}`", feature.name()));
        let link = anchor(&heading);
        let cells =
            [format!("[{heading}](#{link})"), route.summary.to_owned(), takes.join(", "), answer, scope, feature];
        table.push_str(&format!("| {} |\n", cells.join(" | ")).replace("|  |", "| |"));
    }
    table
}

#[test]
fn the_reference_has_the_table_of_the_code() {
    const BEGIN: &str = "<!-- The table is made from src/endpoints/routes.rs by UPDATE_DOCS=1 cargo test -->\n\n";
    const END: &str = "\n<!-- The end of the table -->\n";
    let text = read("docs/API.md");
    let (before, rest) = text.split_once(BEGIN).expect("docs/API.md has the mark where the table begins");
    let (_, after) = rest.split_once(END).expect("docs/API.md has the mark where the table ends");
    let wanted = [before, BEGIN, &table(), END, after].concat();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(Path::new(ROOT).join("docs/API.md"), &wanted).unwrap();
    } else {
        assert!(text == wanted, "the table in docs/API.md is stale: UPDATE_DOCS=1 cargo test");
    }
}

struct Example {
    /// Its line in the document, for error messages.
    line: usize,
    /// Whether it starts with a new appliance.
    is_fresh: bool,
    /// Files, and `None` for one that is removed.
    given: Vec<(String, Option<String>)>,
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    /// The headers and the body of a piece.
    piece: (Vec<(String, String)>, String),
    status: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn examples() -> Vec<Example> {
    let text = read("docs/API.md");
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let (mut examples, mut given, mut is_fresh) = (Vec::new(), Vec::new(), true);
    while let Some((line, text)) = lines.next() {
        let comment = text.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(file) = comment.and_then(|comment| comment.strip_prefix("given: ")) {
            let (name, content) = file.split_once(" = ").unwrap_or_else(|| panic!("line {line}: no content"));
            let content = (content != "nothing").then(|| content.to_owned() + "\n");
            given.push((name.to_owned(), content));
        } else if comment == Some("then") {
            is_fresh = false;
        } else if text == "```http" {
            let block: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            examples.push(parse(line, &block, std::mem::take(&mut given), is_fresh));
            is_fresh = true;
        }
    }
    examples
}

fn parse(line: usize, block: &[&str], given: Vec<(String, Option<String>)>, is_fresh: bool) -> Example {
    let mut sections = block.splitn(3, |line| line.is_empty());
    let request = sections.next().unwrap_or_default();
    let head = sections.next().unwrap_or_else(|| panic!("line {line}: an example has an answer"));
    let body = sections.next().unwrap_or_default().join("\n");
    let (method, target) = request[0].split_once(' ').unwrap_or_else(|| panic!("line {line}: no request line"));
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut piece = (Vec::new(), String::new());
    for text in &request[1..] {
        if method == "PATCH" {
            match text.split_once(": ") {
                Some((name, value)) => piece.0.push((name.to_owned(), value.to_owned())),
                None => (*text).clone_into(&mut piece.1),
            }
            continue;
        }
        let field = text.split_once('=').filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_lowercase()));
        match (field, fields.last_mut()) {
            (Some((name, value)), _) => fields.push((name.to_owned(), value.to_owned())),
            // A value with more than one line continues.
            (None, Some((_, value))) => value.extend(["\n", text]),
            (None, None) => panic!("line {line}: {text:?} is no field"),
        }
    }
    let headers =
        head[1..].iter().map(|header| header.split_once(": ").unwrap_or_else(|| panic!("line {line}: {header}")));
    Example {
        line,
        is_fresh,
        given,
        method: method.to_owned(),
        target: target.to_owned(),
        fields,
        piece,
        status: head[0].strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("line {line}: no status line")).to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body,
    }
}

/// The head and the body of the executable's response.
fn send(fixture: &Fixture, example: &Example, upload: &str) -> (String, String) {
    let fields: Vec<(String, String)> =
        example.fields.iter().map(|(name, value)| (name.clone(), value.replace(UPLOAD, upload))).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (kind, mut body) = form::encode(&fields);
    let mut command = Command::new(BINARY);
    command
        .env_clear()
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("REQUEST_METHOD", &example.method)
        .env("REQUEST_URI", example.target.replace(UPLOAD, upload))
        .env("REMOTE_ADDR", "192.0.2.7")
        .env("JIDO_ADMIN_PATH", fixture.admin())
        .env("JIDO_ETC_PATH", fixture.etc());
    for (name, value) in &example.piece.0 {
        let name = name.to_ascii_uppercase().replace('-', "_");
        command.env(if name == "CONTENT_TYPE" { name } else { format!("HTTP_{name}") }, value);
    }
    if fields.is_empty() {
        body = example.piece.1.clone().into_bytes();
    } else {
        command.env("CONTENT_TYPE", kind);
    }
    command.env("CONTENT_LENGTH", body.len().to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&body).unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let (head, body) = output.split_once("\r\n\r\n").expect("an answer has a head");
    (head.to_owned(), body.to_owned())
}

/// The id that uploads have in the examples.
const UPLOAD: &str = "8a1c6f0b2d3e4f508a1c6f0b2d3e4f50";

/// Replaces the time of an upload by the one in the examples.
fn with_time_of_example(body: &str) -> String {
    const MARK: &str = "\"started\":\"";
    match body.split_once(MARK).filter(|_| body.contains("\"for\":")) {
        Some((before, rest)) => format!("{before}{MARK}2026-11-23T12:00:00Z{}", &rest[20..]),
        None => body.to_owned(),
    }
}

/// Replaces the job id, which differs each time, by the one in the examples.
fn with_job_of_example(body: &str) -> String {
    const MARK: &str = "\"Job\":\"";
    match body.split_once(MARK) {
        Some((before, rest)) if rest.len() > 16 => format!("{before}{MARK}8a1c6f0b2d3e4f50{}", &rest[16..]),
        _ => body.to_owned(),
    }
}

/// The difference from the expected response, if any.
fn fault(example: &Example, head: &str, body: &str) -> Option<String> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("Status: ")).unwrap_or_default();
    if status != example.status {
        return Some(format!("{status}, not {}: {body}", example.status));
    }
    let headers: Vec<&str> = lines.collect();
    for (name, value) in &example.headers {
        if !headers.contains(&format!("{name}: {value}").as_str()) {
            return Some(format!("no header {name}: {value} in {headers:?}"));
        }
    }
    let is_json = headers.contains(&"Content-Type: application/json");
    let (wanted, got) = if is_json {
        (json::compact(&example.body), with_job_of_example(&json::compact(body)))
    } else {
        (example.body.clone(), body.trim_end_matches('\n').to_owned())
    };
    (wanted != "..." && wanted != got).then(|| format!("the body is\n    {got}\n  not\n    {wanted}"))
}

#[test]
fn every_example_of_the_reference_is_the_answer_of_the_executable() {
    let examples = examples();
    assert!(examples.len() >= ROUTES.len(), "only {} examples", examples.len());
    let mut faults = Vec::new();
    let mut fixture = Fixture::new();
    let mut upload = UPLOAD.to_owned();
    for example in &examples {
        if example.is_fresh {
            fixture = Fixture::new();
        }
        for (name, content) in &example.given {
            match content {
                Some(content) => fixture.write(name, content),
                None => fixture.remove(name),
            }
        }
        let (head, body) = send(&fixture, example, &upload);
        if let Some((_, id)) = body.split_once("\"Upload\":\"") {
            id[..32].clone_into(&mut upload);
        }
        let (head, body) = (head.replace(&upload, UPLOAD), with_time_of_example(&body.replace(&upload, UPLOAD)));
        if let Some(fault) = fault(example, &head, &body) {
            faults.push(format!("line {}: {} {}: {fault}", example.line, example.method, example.target));
        }
    }
    report("examples of docs/API.md that are not so", &faults);
}

#[test]
fn every_route_has_a_chapter_and_an_example_of_its_success() {
    let (text, examples) = (read("docs/API.md"), examples());
    let mut faults = Vec::new();
    for route in ROUTES {
        let method = route.method.as_str();
        let wanted = match route.success {
            Success::Accepted => "202",
            Success::Created(_) => "201",
            Success::Empty => "204",
            Success::Json(_) | Success::Text | Success::Page | Success::Download(_) => "200",
        };
        if !text.contains(&format!("\n### {method} {}\n", short(route))) {
            faults.push(format!("{method} {} has no chapter", route.path));
        }
        let is_shown = examples.iter().any(|example| {
            let path = example.target.split('?').next().unwrap_or_default();
            route.is_at(path) && example.method == method && example.status.starts_with(wanted)
        });
        if !is_shown {
            faults.push(format!("{method} {} has no example with {wanted}", route.path));
        }
        for field in route.fields.iter().filter(|_| route.method == Verb::Post) {
            if !text.contains(&format!("`{}`", field.name)) {
                faults.push(format!("the field {} of {method} {} is not explained", field.name, route.path));
            }
        }
    }
    report("docs/API.md", &faults);
}

#[test]
fn the_commands_of_the_reference_print_the_documented_output() {
    let folder = Path::new(BINARY).parent().unwrap().display().to_string();
    let output = Command::new("tests/docs/console.sh")
        .arg("docs/API.md")
        .current_dir(ROOT)
        .env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

// --- names in the documents ---

/// The names of the tests in Rust, and the text of all other tests.
fn tests() -> (BTreeSet<String>, String) {
    let (mut names, mut others) = (BTreeSet::new(), String::new());
    for file in files("src").into_iter().chain(files("tests")) {
        let Ok(text) = fs::read_to_string(Path::new(ROOT).join(&file)) else { continue };
        if !has_extension(&file, "rs") {
            others.push_str(&text);
            continue;
        }
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            match line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
                Some((name, _)) if is_test => drop(names.insert(name.to_owned())),
                _ => {}
            }
            is_test = line == "#[test]" || (is_test && line.starts_with("#["));
        }
    }
    (names, others)
}

/// The parts of a text between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// In a table whose last column is "Shown by", the last cell of a row names tests: a function, or the name of a check
/// of a script under `tests/`. Without a test it says "not yet" or "no test", and why.
#[test]
fn every_test_that_a_document_names_is_there() {
    let (names, others) = tests();
    let (mut faults, mut n_named) = (Vec::new(), 0);
    for document in documents() {
        let mut is_listing = false;
        for (at, line) in read(&document).lines().enumerate().filter(|(_, line)| !line.starts_with("| ---")) {
            if !line.starts_with('|') {
                is_listing = false;
                continue;
            }
            let last = line.trim_end_matches(['|', ' ']).rsplit(" | ").next().unwrap_or_default();
            if last == "Shown by" {
                is_listing = true;
                continue;
            }
            if !is_listing {
                continue;
            }
            let place = format!("{document}:{}", at + 1);
            let mut n_here = 0;
            for name in quoted(last) {
                n_here += 1;
                let is_there = names.contains(name) || (name.contains(' ') && others.contains(name));
                if !is_there {
                    faults.push(format!("{place}: there is no test {name:?}"));
                }
            }
            if n_here == 0 && !last.starts_with("not yet") && !last.starts_with("no test") {
                faults.push(format!("{place}: shown by nothing"));
            }
            n_named += n_here;
        }
    }
    report("documents name tests", &faults);
    assert!(n_named > 50, "only {n_named} tests are named");
}

#[test]
fn every_link_leads_somewhere() {
    let mut faults = Vec::new();
    for document in documents() {
        let folder = Path::new(&document).parent().unwrap();
        for target in read(&document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { PathBuf::from(&document) } else { folder.join(path) };
            let Ok(found) = fs::metadata(Path::new(ROOT).join(&file)) else {
                faults.push(format!("{document}: {target}"));
                continue;
            };
            let has_anchor = || {
                let text = read(&file.display().to_string());
                text.lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line.trim_start_matches('#')) == fragment)
            };
            if !fragment.is_empty() && (found.is_dir() || !has_anchor()) {
                faults.push(format!("{document}: {target}"));
            }
        }
    }
    report("links that lead nowhere", &faults);
}

// --- the structure of the code ---

/// The modules that a file declares, in order.
fn modules(file: &str) -> Vec<String> {
    let lines = read(file);
    let names = lines
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned));
    names.collect()
}

/// The position of a module: that of its folder in `lib.rs`, then its own in that folder. A folder's `mod.rs` comes before
/// its files.
fn position(floors: &[String], path: &[&str]) -> Option<(usize, usize)> {
    let floor = floors.iter().position(|floor| floor == path[0])?;
    let index = format!("src/{}/mod.rs", path[0]);
    let rooms = if Path::new(ROOT).join(&index).exists() { modules(&index) } else { Vec::new() };
    let room = path.get(1).and_then(|name| rooms.iter().position(|room| room == name));
    Some((floor, room.map_or(0, |room| room + 1)))
}

/// The code of a file, without comments and tests.
fn code(file: &str) -> String {
    // A file that contains only tests.
    if file.ends_with("/tests.rs") {
        return String::new();
    }
    let text = read(file);
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_module_uses_only_those_above_it() {
    let floors = modules("src/lib.rs");
    assert!(floors.len() > 8, "{floors:?}");
    let (mut faults, mut n_uses) = (Vec::new(), 0);
    for file in files("src").into_iter().filter(|file| file.ends_with(".rs")) {
        let own: Vec<&str> = file.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect();
        // These are above all modules.
        if matches!(own[0], "main" | "lib" | "bin") {
            continue;
        }
        let at = position(&floors, &own).unwrap_or_else(|| panic!("{file} is not in the map"));
        for rest in code(&file).split("crate::").skip(1) {
            let path: String = rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            let used: Vec<&str> = path.split("::").collect();
            let is_above = position(&floors, &used).is_some_and(|used| used <= at);
            // The table names the handlers, and one handler prints the table. Commands use the argument type of their
            // table.
            let is_exception = path.starts_with("root::commands::")
                || (own[0] == "endpoints" && path.starts_with("endpoints::routes"));
            n_uses += 1;
            if !is_above && !is_exception {
                faults.push(format!("{file} uses {path:?}, which stands below it"));
            }
        }
    }
    assert!(n_uses > 200, "{n_uses}");
    report("src/lib.rs", &faults);
}

#[test]
fn the_architecture_names_every_file_of_the_code_and_no_other() {
    let text = read("docs/ARCHITECTURE.md");
    let tree =
        text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("it begins with the tree");
    let (mut named, mut folders) = (BTreeSet::new(), Vec::new());
    for line in tree.lines() {
        // Two spaces a level; what is set in further goes on with the line above it.
        let indent = line.len() - line.trim_start().len();
        if indent > 8 {
            continue;
        }
        let name = line.split_whitespace().next().unwrap_or_default();
        folders.truncate(indent / 2);
        named.insert(format!("{}{name}", folders.concat()));
        if name.ends_with('/') {
            folders.push(name.to_owned());
        }
    }
    let mut faults = Vec::new();
    for file in ["src", "cgi-bin", "nginx"].into_iter().flat_map(files) {
        // A folder has one line, or a line per file.
        let is_in_line = named.iter().any(|folder| {
            folder.ends_with('/')
                && file.starts_with(folder.as_str())
                && !named.iter().any(|other| other != folder && other.starts_with(folder.as_str()))
        });
        // The line of a folder includes its `mod.rs`.
        let is_floor = file.strip_suffix("mod.rs").is_some_and(|folder| named.contains(folder));
        if !named.contains(&file) && !is_in_line && !is_floor {
            faults.push(format!("{file} is not in the tree"));
        }
    }
    faults.extend(
        named.iter().filter(|name| !Path::new(ROOT).join(name).exists()).map(|name| format!("{name} is not there")),
    );
    report("docs/ARCHITECTURE.md", &faults);
}

/// Concerns that belong to one file, and the words that identify them.
#[test]
fn each_matter_stays_in_its_file() {
    const CGI: &[&str] = &[
        "\"REQUEST_",
        "\"QUERY_STRING",
        "\"CONTENT_",
        "\"REMOTE_",
        "\"PATH_INFO",
        "\"SCRIPT_NAME",
        "\"GATEWAY_",
        "\"HTTP_",
        "\"JIDO_SENDFILE",
        "\"JIDO_WAITING_ROOM",
        "\"JIDO_QUESTION",
        "\"JIDO_UNREAD_BODY",
    ];
    let matters: [(&str, &[&str], &[&str]); 5] = [
        ("a CGI variable", CGI, &["src/http/request.rs"]),
        // main.rs writes the response to a panic, when nothing else can be trusted; openapi.rs only documents.
        (
            "a status of failure",
            &["\"40", "\"41", "\"42", "\"50"],
            &["src/http/error.rs", "src/main.rs", "src/console/openapi.rs"],
        ),
        ("a boundary of a form", &["memmem"], &["src/http/multipart.rs"]),
        (
            "the making of an environment for a job",
            &["Command::new"],
            &[
                "src/jobs/job.rs",
                "src/console/verify.rs",
                "src/root/programs.rs",
                "src/console/machine.rs",
                "src/console/cli.rs",
                "src/root/certificate/mod.rs",
            ],
        ),
        ("the quoting of a value for a shell", &["'`'"], &["src/values/shell_conf.rs"]),
    ];
    let mut faults = Vec::new();
    for (what, words, homes) in matters {
        for file in files("src").iter().filter(|file| !homes.contains(&file.as_str())) {
            let code = code(file);
            faults
                .extend(words.iter().filter(|word| code.contains(*word)).map(|word| format!("{file}: {what}: {word}")));
        }
        for home in homes {
            let code = code(home);
            assert!(
                words.iter().any(|word| code.contains(word)),
                "{home} knows nothing of {what}: the words are wrong"
            );
        }
    }
    report("this belongs elsewhere", &faults);
}

#[test]
fn endpoints_do_not_know_that_they_run_under_cgi() {
    let mut faults = Vec::new();
    for file in files("src/endpoints") {
        let code = code(&file);
        let words = ["env::", "stdout", "stdin", "stderr", "process::", "println", "/opt/", "/usr/local"];
        faults.extend(words.iter().filter(|word| code.contains(*word)).map(|word| format!("{file}: {word}")));
    }
    report("src/endpoints", &faults);
}

#[test]
fn the_architecture_explains_every_dependency_and_the_changelog_this_version() {
    let (manifest, text) = (read("Cargo.toml"), read("docs/ARCHITECTURE.md"));
    let mut is_dependency = false;
    let mut faults = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_dependency = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| is_dependency)
            && !text.contains(&format!("\n| `{name}` |"))
        {
            faults.push(format!("{name} has no row"));
        }
    }
    report("docs/ARCHITECTURE.md, dependencies", &faults);
    let changelog = read("docs/CHANGELOG.md");
    let first = changelog.lines().find_map(|line| line.strip_prefix("## ")).unwrap_or_default();
    assert!(
        first.starts_with(&format!("[{}]", env!("CARGO_PKG_VERSION"))) || first.ends_with("] - unreleased"),
        "{first}"
    );
}
