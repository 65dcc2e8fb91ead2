//! The way in and the way out: a request as CGI has it, a form as it arrives, a response as it leaves. The only place that
//! knows CGI and HTTP.

pub mod request;
pub mod multipart;
pub mod response;
pub mod error;
