//! Derives the files that root's programs read from the JSON of the web side. A job trusts no file of another format
//! next to it, because the API's user can write any file.

use crate::appliance::{self, Appliance};
use crate::jobs::status;
use crate::root::commands::Arguments;
use crate::values::json::Object;
use crate::values::network::SettingsFiles;
use crate::values::storage::StorageSettings;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Prints the argument of `network.sh` for the current `network.conf`, which an image may have written itself:
/// `static`, `dhcp`, or `none` if there is no such file. For any other mode it prints nothing.
pub fn mode(_: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    writeln!(io::stdout(), "{}", current_mode(appliance)?).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn current_mode(appliance: &Appliance) -> Result<&'static str, String> {
    let content = match appliance::read(&appliance.etc().join("network.conf")) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => b"mode=none".to_vec(),
        Err(error) => return Err(error.to_string()),
    };
    let text = String::from_utf8_lossy(&content);
    let value = text.lines().find_map(|line| line.trim().strip_prefix("mode="));
    Ok(match value.map(|value| value.trim_matches(['"', '\''])) {
        Some("static") => "static",
        Some("dhcp") => "dhcp",
        Some("none") => "none",
        Some(_) | None => "",
    })
}

/// Derives the files of a change in a directory of root's. Arguments: `settings` or `storage`, and the directory. If
/// the JSON is invalid, prints the reason for the client and fails.
pub fn conf(arguments: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    let (Some(kind), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("the kind and the folder are missing".to_owned());
    };
    let folder = Path::new(&folder);
    let derived = match kind.to_str() {
        Some("settings") => settings(folder),
        Some("storage") => storage(folder, appliance),
        _ => return Err("no such kind".to_owned()),
    };
    match derived {
        Ok(files) => {
            for (name, content) in files {
                std::fs::write(folder.join(name), content).map_err(|error| format!("cannot write {name}: {error}"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            writeln!(io::stdout(), "{reason}").map_err(|error| error.to_string())?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The derived files with their contents.
type Derived = Result<Vec<(&'static str, String)>, String>;

fn settings(folder: &Path) -> Derived {
    let network = text(folder, "network.json")?.ok_or("Missing network settings")?;
    let app = text(folder, "app.json")?;
    let files = SettingsFiles::new(Some(&network), app.as_deref()).map_err(|fault| fault.to_string())?;
    let mut derived = vec![("network.conf", files.network.to_conf()), ("network.json", files.network_json)];
    if app.is_some() {
        derived.push(("app.json", files.app_json));
    }
    Ok(derived)
}

fn storage(folder: &Path, appliance: &Appliance) -> Derived {
    let (settings, object) = storage_settings(folder, appliance)?;
    Ok(vec![("storage.conf", settings.to_conf()), ("storage.json", settings.to_json(&object))])
}

/// The storage settings in a directory's `storage.json`, with their JSON object.
pub fn storage_settings(folder: &Path, appliance: &Appliance) -> Result<(StorageSettings, Object), String> {
    let text = text(folder, "storage.json")?.ok_or("Missing storage settings")?;
    let root = Object::parse(&text).map_err(|reason| format!("Invalid settings file: {reason}"))?;
    let storage = root.get("storage").ok_or("Missing storage settings")?;
    StorageSettings::read(storage.get(), &status::storage_options(appliance)).map_err(|fault| fault.to_string())
}

/// A file with content; `None` if it is missing or empty.
fn text(folder: &Path, name: &str) -> Result<Option<String>, String> {
    match appliance::read(&folder.join(name)) {
        Ok(content) => match String::from_utf8(content) {
            Ok(text) => Ok((!text.trim_ascii().is_empty()).then_some(text)),
            Err(_) => Err(format!("Invalid settings: {name} is not UTF-8")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("Invalid settings: {name} cannot be read ({})", error.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_cannot_be_read_is_no_missing_one() {
        let root = std::env::temp_dir().join(format!("derive-{}", std::process::id()));
        fs::create_dir(&root).unwrap();
        let appliance = Appliance::new(None, Some(root.clone().into()));
        let path = root.join("network.conf");
        assert_eq!((current_mode(&appliance), text(&root, "network.conf")), (Ok("none"), Ok(None)));
        for (content, mode) in [
            ("mode=static\nip=192.0.2.1\n", "static"),
            ("# of the image\n mode=\"dhcp\"\n", "dhcp"),
            ("mode='none'\n", "none"),
            ("mode=bridge\n", ""),
            ("a=b\n", ""),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(current_mode(&appliance), Ok(mode), "{content}");
            assert_eq!(text(&root, "network.conf"), Ok(Some(content.to_owned())));
        }
        fs::write(&path, " \n").unwrap();
        assert_eq!(text(&root, "network.conf"), Ok(None));
        fs::write(&path, b"mode=\xff\n").unwrap();
        assert_eq!(current_mode(&appliance), Ok(""));
        assert!(text(&root, "network.conf").is_err());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(current_mode(&appliance).is_err());
        assert!(text(&root, "network.conf").is_err());
        fs::remove_dir_all(root).unwrap();
    }
}
