//! What a client can rely on: requests and responses, forms, uploads, jobs, and the commands. `schema/` compares the
//! servers with openapi.json; `overtaken.txt` names the recorded cases that a later rule replaced.

pub mod cases;
mod check;
mod cross;
mod edge;
pub mod form;
pub mod http;
mod jobs_api;
mod resumable;
