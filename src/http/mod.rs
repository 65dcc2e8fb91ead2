//! The way in and out: a request from CGI, a form from its body, a response. The only place that knows CGI and HTTP.

pub mod request;
pub mod multipart;
pub mod response;
pub mod error;
