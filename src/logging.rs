//! Messages on standard error: one line per event. The web server writes them to its error log, a job to its log.

use std::io::Write;

/// Makes `log::error!` and the like write lines to standard error, each with the name of the program. Call it once,
/// first.
pub fn start(program: &'static str) {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Info)
        .format(move |out, record| {
            writeln!(
                out,
                "{program}: {}: {}",
                record.level().as_str().to_ascii_lowercase(),
                one_line(&record.args().to_string())
            )
        })
        .init();
}

/// A text without characters that end its line or control a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
