//! First run: until somebody uses the passphrase on the console to set a token, only `/setup` is open.

use crate::appliance::{self, Appliance};
use crate::jobs::Job;
use crate::jobs::job::Lock;
use crate::values::config::Config;
use crate::values::random;
use crate::values::token::Token;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;

/// The state of first run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstRun {
    /// Not enabled.
    NotConfigured,
    /// Pending: no token has been set yet.
    Pending,
    /// Over.
    Done,
    /// Unknown: a file that decides it cannot be read. Until it can, nobody can claim the appliance.
    Unknown,
}

impl FirstRun {
    /// The value of `First-Run` in an error, if it has one.
    pub fn is_pending(self) -> Option<bool> {
        match self {
            FirstRun::NotConfigured | FirstRun::Unknown => None,
            FirstRun::Pending => Some(true),
            FirstRun::Done => Some(false),
        }
    }
}

/// The state of first run, and the current token. Creates the passphrase if there is no token yet.
pub fn state(appliance: &Appliance, config: &Config) -> (FirstRun, Option<Token>) {
    let token = match appliance.token() {
        Ok(token) => token,
        Err(error) => {
            log::error!("cannot tell which API token is set, so no credential is valid: {error}");
            return (FirstRun::Unknown, None);
        }
    };
    match (token, config.first_run_words) {
        (token, None) if config.is_known => (FirstRun::NotConfigured, token),
        (None, None) => (FirstRun::Unknown, None),
        (None, Some(words)) => {
            let passphrase = create_passphrase(appliance, words).inspect_err(|error| {
                log::error!(
                    "first run: cannot create the passphrase: {error}. Run `jidoteki-admin-api first-run` as root"
                );
            });
            (FirstRun::Pending, passphrase.ok().flatten())
        }
        (Some(token), words) => match appliance.passphrase() {
            // First run is pending while the token is still the passphrase. So a new token ends it, even if the file with
            // the passphrase cannot be emptied.
            Ok(Some(passphrase)) if token == passphrase => (FirstRun::Pending, Some(token)),
            Ok(_) if words.is_none() => (FirstRun::NotConfigured, Some(token)),
            Ok(_) => (FirstRun::Done, Some(token)),
            Err(error) => {
                log::error!("first run: cannot tell whether it is over, so only /setup is open: {error}");
                (FirstRun::Pending, Some(token))
            }
        },
    }
}

/// Creates the passphrase, and makes it the token. Concurrent requests create one: `None` if another request is doing it.
fn create_passphrase(appliance: &Appliance, words: usize) -> io::Result<Option<Token>> {
    let Ok(_lock) = Lock::take(appliance, Job::Token) else { return Ok(None) };
    if let Some(token) = appliance.token()? {
        return Ok(Some(token));
    }
    // The file for the console first: if the power fails before the second one, the next request writes that.
    let passphrase = if let Some(passphrase) = appliance.passphrase()? {
        passphrase
    } else {
        let text = random::passphrase(words)?;
        let passphrase = Token::parse(&text).map_err(|error| io::Error::other(error.to_string()))?;
        write(&appliance.setup_file(), &passphrase)?;
        passphrase
    };
    write(&appliance.token_file(), &passphrase)?;
    Ok(Some(passphrase))
}

fn write(path: &std::path::Path, passphrase: &Token) -> io::Result<()> {
    appliance::replace(path, format!("{}\n", passphrase.reveal()).as_bytes(), 0o660)?;
    // Root and the API's group must both be able to write it, whatever the umask.
    std::fs::set_permissions(path, Permissions::from_mode(0o660))
}

/// Empties the file with the passphrase, so that the console shows it no more.
pub fn end(appliance: &Appliance) {
    let path = appliance.setup_file();
    match appliance::open_own(&path, None).and_then(|file| file.set_len(0)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => log::error!("first run is over, but {} cannot be emptied: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_files_decide_the_state_and_an_unreadable_file_opens_nothing() {
        let root = std::env::temp_dir().join(format!("first-run-{}", std::process::id()));
        let appliance = Appliance::new(Some(root.clone().into()), None);
        let (off, mut on) = (Config::default(), Config::default());
        on.first_run_words = Some(4);
        let unknown = Config::unknown();
        let broken = &b"\xff\n"[..];
        for (token, passphrase, config, wanted, is_set) in [
            (None, None, &off, FirstRun::NotConfigured, false),
            (None, None, &unknown, FirstRun::Unknown, false),
            (Some(broken), None, &off, FirstRun::Unknown, false),
            (Some(broken), None, &on, FirstRun::Unknown, false),
            (Some(&b"a\n"[..]), None, &off, FirstRun::NotConfigured, true),
            (Some(b"a\n"), None, &on, FirstRun::Done, true),
            (Some(b"a\n"), None, &unknown, FirstRun::NotConfigured, true),
            (Some(b"a\n"), Some(&b"a\n"[..]), &on, FirstRun::Pending, true),
            (Some(b"a\n"), Some(b"b\n"), &on, FirstRun::Done, true),
            (Some(b"a\n"), Some(b""), &on, FirstRun::Done, true),
            (Some(b"a\n"), Some(broken), &on, FirstRun::Pending, true),
            (Some(b"a\n"), Some(b"a\n"), &unknown, FirstRun::Pending, true),
        ] {
            let _ = fs::remove_dir_all(&root);
            for (path, content) in [(appliance.token_file(), token), (appliance.setup_file(), passphrase)] {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                if let Some(content) = content {
                    fs::write(path, content).unwrap();
                }
            }
            let (state, found) = state(&appliance, config);
            assert_eq!((state, found.is_some()), (wanted, is_set), "{token:?} {passphrase:?} {config:?}");
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn an_error_tells_whether_first_run_is_over() {
        let told =
            [FirstRun::NotConfigured, FirstRun::Unknown, FirstRun::Pending, FirstRun::Done].map(FirstRun::is_pending);
        assert_eq!(told, [None, None, Some(true), Some(false)]);
    }
}
