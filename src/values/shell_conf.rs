//! The only file that writes client text into a file that a shell reads as root.

/// The lines of a file that a POSIX shell sources.
#[derive(Debug, Default)]
pub struct ShellConf(String);

impl ShellConf {
    /// Adds `key=value`, for a value of letters, digits and `.:-/` only, as the ancestor writes addresses and interface
    /// names. Any other value is quoted, so that a bug in a caller cannot become a command.
    pub fn bare(&mut self, key: &str, value: &str) {
        if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-/".contains(&byte)) {
            self.line(key, value);
        } else {
            self.quoted(key, value);
        }
    }

    /// Adds `key="value"`. Inside double quotes, only `"`, `$`, a backquote and `\` are special to a shell. Each is
    /// escaped, so every POSIX shell reads back exactly the value and runs nothing.
    pub fn quoted(&mut self, key: &str, value: &str) {
        let mut text = String::with_capacity(value.len() + 2);
        text.push('"');
        for c in value.chars() {
            if matches!(c, '"' | '$' | '`' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('"');
        self.line(key, &text);
    }

    /// The complete file.
    pub fn into_string(self) -> String {
        self.0
    }

    fn line(&mut self, key: &str, value: &str) {
        debug_assert!(!value.contains(['\n', '\0']), "values are checked before they come here");
        self.0.push_str(key);
        self.0.push('=');
        self.0.push_str(value);
        self.0.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_plain_value_is_written_as_the_ancestor_writes_it() {
        let mut conf = ShellConf::default();
        conf.bare("ip", "fe80::1");
        conf.bare("interface", "eth0;reboot");
        conf.quoted("hostname", "test.host");
        assert_eq!(conf.into_string(), "ip=fe80::1\ninterface=\"eth0;reboot\"\nhostname=\"test.host\"\n");
    }

    #[test]
    fn a_shell_reads_back_every_printable_character_and_runs_nothing() {
        let every: String = (33..=126).map(char::from).collect();
        for value in
            [every.as_str(), "$(touch x)", "`touch x`", "\\", "a\\", "\"; touch x; \"", "'", "${HOME}", "!!", "~"]
        {
            let mut conf = ShellConf::default();
            conf.quoted("value", value);
            let script = conf.into_string() + "printf %s \"$value\"";
            for shell in ["/bin/dash", "/bin/bash"] {
                let output = Command::new(shell)
                    .args(["-u", "-c", &script])
                    .env_clear()
                    .env("PATH", "/nonexistent")
                    .output()
                    .unwrap();
                assert_eq!(
                    (String::from_utf8(output.stdout).unwrap().as_str(), output.stderr.as_slice()),
                    (value, &b""[..]),
                    "{shell}"
                );
            }
        }
    }
}
