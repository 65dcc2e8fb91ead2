//! What a program of ours says on standard error: one line an event. The web server puts it into its error log, a job into
//! the log of the job.

use std::io::Write;

/// Lets `log::error!` and the like write lines to standard error, each with the name of the program. Call it once, first.
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

/// A text without the characters that would end its line, or that a terminal obeys.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
