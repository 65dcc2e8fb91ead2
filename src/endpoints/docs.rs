//! `/docs`: the API on one page, generated from the route table for the enabled endpoints.

use super::Call;
use crate::endpoints::routes::{Handler, ROUTES};
use crate::http::error::Error;
use crate::http::response::Response;
use crate::upload::Presence;

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid #8886}\
code{font-family:ui-monospace,monospace}";

/// `GET /docs`
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, Error> {
    let mut rows = String::new();
    for route in ROUTES.iter().filter(|route| call.config.is_enabled(route.feature)) {
        let fields: Vec<String> = route
            .fields
            .iter()
            .map(|field| match field.presence {
                Presence::Required => format!("<code>{}</code>: {}", field.name, escape(field.summary)),
                Presence::Optional => format!("<code>{}</code> (optional): {}", field.name, escape(field.summary)),
            })
            .chain(route.parameters.iter().map(|parameter| {
                format!("<code>?{}=</code> (optional): {}", parameter.name, escape(parameter.summary))
            }))
            .collect();
        let access = match route.handler {
            Handler::Public(_) | Handler::Open(_) => "",
            Handler::Scoped(..) => "yes",
        };
        rows.extend([
            "<tr><td><code>",
            route.method.as_str(),
            " ",
            route.path,
            "</code><td>",
            &escape(route.summary),
            "<td>",
            &fields.join("<br>"),
            "<td>",
            access,
            "</tr>\n",
        ]);
    }
    Ok(Response::page(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Administration API</title>\n<style>{STYLE}</style>\n<h1>Administration API</h1>\n\
         <p>Every request except the first <code>POST /setup</code> needs <code>?hash=</code> or <code>?token=</code>.\n\
         The hash is the HMAC-SHA256 of method and path, such as <code>GET/api/v1/admin/version</code>, in lowercase hexadecimal.\n\
         Its key is the SHA-256 of the token, as hexadecimal text.</p>\n\
         <table>\n<tr><th>Request<th>What it does<th>Fields and parameters<th>Token</tr>\n{rows}</table>\n\
         <p><a href=\"/\">Dashboard</a></p>\n</html>\n"
    )))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
