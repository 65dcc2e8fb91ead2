//! `ROUTES` -> `docs/openapi.json` (`OpenAPI` 3.0.3). A test compares the two, so every change of the API is visible in
//! a diff.

use crate::endpoints::routes::{Handler, ROUTES, Route, Success, Verb};
use crate::upload::{Kind, Presence};
use serde_json::{Map, Value, json};

/// The parts that no route contains. As text they take half the space of code, 8 KB less.
const FRAME: &str = r#"{
    "openapi": "3.0.3",
    "info": {
        "title": "Administration API of a virtual appliance",
        "description": "An optional endpoint exists only if the appliance's configuration enables it. Otherwise the response is 404."
    },
    "servers": [{ "url": "https://localhost:8443" }],
    "components": {
        "securitySchemes": {
            "hash": {
                "type": "apiKey", "in": "query", "name": "hash",
                "description": "HMAC-SHA256 of method and path, in lowercase hexadecimal. The key is the SHA-256 of the token, as hexadecimal text"
            },
            "token": { "type": "apiKey", "in": "query", "name": "token", "description": "The API token itself" },
            "bearer": { "type": "http", "scheme": "bearer", "description": "The API token or a named token, in a header" },
            "signature": {
                "type": "apiKey", "in": "header", "name": "Signature-Input",
                "description": "Together with Signature: an HTTP Message Signature (RFC 9421) by hmac-sha256, valid once"
            }
        },
        "schemas": {
            "Error": {
                "type": "object",
                "required": ["Status"],
                "properties": {
                    "Status": { "type": "string", "example": "400 Bad Request" },
                    "Error-Message": { "type": "string" },
                    "First-Run": { "type": "boolean", "description": "Whether first run is pending; only if it is configured" },
                    "Error-Code": { "type": "string", "example": "E1004" },
                    "Field": { "type": "string", "description": "The setting or form field with the error" },
                    "Hint": { "type": "string", "description": "Why the signature failed" },
                    "Server-Time": { "type": "string", "description": "The appliance's clock, in seconds since 1970" }
                }
            },
            "Accepted": {
                "type": "object",
                "required": ["Status", "Location"],
                "properties": {
                    "Status": { "type": "string", "example": "202 Accepted" },
                    "Location": { "type": "string", "description": "Request this path to follow the job" },
                    "Job": { "type": "string", "description": "The id of the job, for `GET /jobs/{id}`" }
                }
            }
        }
    }
}"#;

/// The document, as text that ends with a newline.
pub fn document() -> String {
    let mut document = read(FRAME);
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    for route in ROUTES {
        document["paths"][route.path][route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    let mut text = serde_json::to_string_pretty(&document).expect("a value is always JSON");
    text.push('\n');
    text
}

/// Quotes one of our texts; a test checks them all.
fn read(text: &str) -> Value {
    serde_json::from_slice(text.as_bytes()).expect("a test reads every text")
}

const STRING: &str = r#"{ "type": "string" }"#;
const ID: &str =
    r#"{ "in": "path", "name": "id", "required": true, "schema": { "type": "string", "pattern": "^[0-9a-f]{16}$" } }"#;
const UPLOAD: &str = r#"{ "in": "path", "name": "upload", "required": true, "schema": { "type": "string", "pattern": "^[0-9a-f]{32}$" } }"#;
const PIECE: &str = r#"[
    { "in": "header", "name": "Upload-Offset", "required": true, "description": "Where the piece begins", "schema": { "type": "integer", "minimum": 0 } },
    { "in": "header", "name": "Upload-Complete", "required": true, "description": "Whether it is the last", "schema": { "type": "string", "enum": ["?0", "?1"] } },
    { "in": "header", "name": "Upload-Length", "description": "Bytes of the complete upload; must be the announced length", "schema": { "type": "integer", "minimum": 0 } }
]"#;
const STATE: &str = r#"{
    "Upload-Offset": { "description": "Where the next piece begins", "schema": { "type": "integer" } },
    "Upload-Complete": { "description": "Whether the upload is complete", "schema": { "type": "string", "enum": ["?0", "?1"] } }
}"#;
const BINARY: &str = r#"{ "type": "string", "format": "binary" }"#;

fn operation(route: &Route) -> Value {
    let mut operation = json!({ "summary": route.summary, "responses": responses(route) });
    operation["security"] = read(match route.handler {
        Handler::Public(_) => "[]",
        // Setting the first token needs no credentials.
        Handler::Open(_) => r#"[{ "signature": [] }, { "bearer": [] }, { "hash": [] }, { "token": [] }, {}]"#,
        Handler::Scoped(..) => r#"[{ "signature": [] }, { "bearer": [] }, { "hash": [] }, { "token": [] }]"#,
    });
    let id = route.path.split_once('{').map(|(_, name)| read(if name == "id}" { ID } else { UPLOAD }));
    if !route.parameters.is_empty() || id.is_some() {
        let parameters = route.parameters.iter().map(|parameter| {
            let mut value = read(r#"{ "in": "query", "required": false, "schema": { "type": "string" } }"#);
            value["name"] = parameter.name.into();
            value["description"] = parameter.summary.into();
            value
        });
        operation["parameters"] = id.into_iter().chain(parameters).collect();
    }
    if route.method == Verb::Patch {
        let parameters = operation["parameters"].as_array_mut().into_iter();
        parameters.for_each(|parameters| parameters.extend(read(PIECE).as_array().into_iter().flatten().cloned()));
        operation["requestBody"] = json!({ "content": { "application/partial-upload": { "schema": read(BINARY) } } });
    }
    if !route.fields.is_empty() {
        operation["requestBody"] = request_body(route);
    }
    operation
}

fn request_body(route: &Route) -> Value {
    let mut properties = Map::new();
    for field in route.fields {
        let mut property = read(if field.kind == Kind::Text { STRING } else { BINARY });
        property["description"] = field.summary.into();
        properties.insert(field.name.to_owned(), property);
    }
    let required: Vec<&str> =
        route.fields.iter().filter(|field| field.presence == Presence::Required).map(|field| field.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let mut content = json!({ "multipart/form-data": { "schema": schema } });
    if route.fields.iter().all(|field| field.kind == Kind::Text) {
        content["application/x-www-form-urlencoded"] = content["multipart/form-data"].clone();
    }
    json!({ "required": !required.is_empty(), "content": content })
}

fn responses(route: &Route) -> Value {
    let mut responses = Map::new();
    let (status, success) = match route.success {
        Success::Json(example) => {
            let mut done = described("Done", "application/json", read("{}"));
            done["content"]["application/json"]["example"] = read(example);
            ("200", done)
        }
        Success::Text => ("200", described("The text", "text/plain", read(STRING))),
        Success::Page => ("200", described("A page", "text/html", read(STRING))),
        Success::Download(name) => ("200", described(name, "application/octet-stream", read(BINARY))),
        Success::Created(example) => {
            let mut created = described("Opened", "application/json", read("{}"));
            created["content"]["application/json"]["example"] = read(example);
            ("201", created)
        }
        Success::Empty if route.method == Verb::Patch => {
            ("204", json!({ "description": "The piece is on the disk", "headers": read(STATE) }))
        }
        Success::Empty => ("204", json!({ "description": "Done" })),
        Success::Accepted => {
            let mut accepted = described("A job runs in the background", "application/json", reference("Accepted"));
            accepted["headers"] = read(
                r#"{ "Location": { "description": "Request this path to follow the job", "schema": { "type": "string" } } }"#,
            );
            ("202", accepted)
        }
    };
    responses.insert(status.to_owned(), success);
    let mut error = |status: &str, description: &str| {
        responses.insert(status.to_owned(), described(description, "application/json", reference("Error")));
    };
    error("400", "The request is invalid, or its job failed; Error-Message has the reason");
    if route.path != "/docs" {
        error("403", "The credentials are missing or wrong, or their scope is too small");
        error("429", "Too many refused requests, or too many bodies at once, from this address");
    }
    error("404", "Not enabled, or no data yet");
    error("405", "The resource does not support this method; Allow lists those it does");
    if matches!(route.success, Success::Empty) || route.fields.iter().any(|field| field.name == "upload") {
        error("409", "The upload continues at another offset, or another request is sending it");
    }
    if !route.fields.is_empty() || route.method == Verb::Patch {
        error("413", "The body is larger than the limit in Error-Message");
    }
    Value::Object(responses)
}

fn described(description: &str, content_type: &str, schema: Value) -> Value {
    json!({ "description": description, "content": { content_type: { "schema": schema } } })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checked_in_document_is_that_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        let document = super::document();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &document).unwrap();
        }
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(checked_in == document, "docs/openapi.json is stale: UPDATE_DOCS=1 cargo test");
    }
}
