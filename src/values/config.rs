//! The configuration file, `jidoteki-admin-api.json`, and its limits.
//!
//! A file that is absent, empty or not JSON enables nothing: a broken configuration never exposes more. A file that
//! cannot be read or is not JSON may have enabled `first-run`, so nobody can claim the appliance.

use serde_json::Value;

/// Parts of the API that the configuration enables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Network and application settings.
    Settings,
    /// TLS certificates.
    Certs,
    /// The vendor's license.
    License,
    /// Persistent storage.
    Storage,
    /// Backup and restore.
    Backup,
    /// History of CPU, memory, disk and network.
    Monitor,
    /// The audit log.
    Audit,
    /// `GET /reboot`, as in the API document.
    RebootByGet,
    /// `POST /reboot`, which no link or image on a page can trigger.
    RebootByPost,
}

impl Feature {
    /// Every feature that `endpoints` can name, in the order of the API document.
    pub const OPTIONAL: [Feature; 7] = [
        Feature::Settings,
        Feature::Certs,
        Feature::License,
        Feature::Storage,
        Feature::Backup,
        Feature::Monitor,
        Feature::Audit,
    ];

    /// Its name in `endpoints`; for the last two, the value of `reboot`.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Settings => "settings",
            Feature::Certs => "certs",
            Feature::License => "license",
            Feature::Storage => "storage",
            Feature::Backup => "backup",
            Feature::Monitor => "monitor",
            Feature::Audit => "audit",
            Feature::RebootByGet => "get",
            Feature::RebootByPost => "post",
        }
    }
}

/// What happens to credentials in a query or a form, which leak into histories, proxies and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legacy {
    /// They are accepted.
    Allow,
    /// They are accepted, with a warning in a header and in the audit log.
    Warn,
    /// They are refused.
    Deny,
}

/// Default limit of refused requests per minute and source.
pub const DEFAULT_REFUSALS: u32 = 600;

/// Default limit of a request body: 4 GiB.
pub const DEFAULT_MAX_UPLOAD: u64 = 4 << 30;

/// Fields that are accepted whether or not `parameters` lists them.
const ALWAYS_ACCEPTED: [&str; 14] = [
    "newtoken", "update", "settings", "confirm", "force", "names", "key", "name", "scope", "days", "for", "length",
    "sha256", "upload",
];

/// The contents of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    features: Vec<Feature>,
    parameters: Vec<String>,
    /// Whether the file could be read; otherwise it is unknown whether first run is enabled.
    pub is_known: bool,
    /// Words in the passphrase of the first run; `None` if first run is disabled.
    pub first_run_words: Option<usize>,
    /// Maximum bytes of a request body.
    pub max_upload: u64,
    /// What happens to credentials in a query or a form.
    pub legacy: Legacy,
    /// Names of this appliance, in addition to its host name and addresses.
    pub hosts: Vec<String>,
    /// Limit of refused requests per minute and source.
    pub refusals_per_minute: u32,
    /// Minutes after a boot in which anyone can claim an appliance without a token; `None` for no limit.
    pub setup_minutes: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            features: vec![Feature::RebootByGet],
            parameters: Vec::new(),
            is_known: true,
            first_run_words: None,
            max_upload: DEFAULT_MAX_UPLOAD,
            legacy: Legacy::Allow,
            hosts: Vec::new(),
            refusals_per_minute: DEFAULT_REFUSALS,
            setup_minutes: None,
        }
    }
}

impl Config {
    /// The configuration while the file cannot be read or is not JSON.
    pub fn unknown() -> Config {
        Config { is_known: false, ..Config::default() }
    }

    /// Parses the file. `Err` says, for the log, why a file that is not empty is ignored.
    pub fn parse(text: &[u8]) -> Result<Config, String> {
        if text.trim_ascii().is_empty() {
            return Ok(Config::default());
        }
        let root: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let strings = |key: &str| -> Vec<&str> {
            root[key].as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
        };
        let endpoints = strings("endpoints");
        let mut features: Vec<_> =
            Feature::OPTIONAL.into_iter().filter(|feature| endpoints.contains(&feature.name())).collect();
        features.extend(match root["reboot"].as_str() {
            Some("post") => &[Feature::RebootByPost][..],
            Some("both") => &[Feature::RebootByGet, Feature::RebootByPost],
            _ => &[Feature::RebootByGet],
        });
        let parameters = strings("parameters").into_iter().map(str::to_owned).collect();

        let first_run = &root["first-run"];
        let is_enabled = first_run["enabled"] == Value::Bool(true) || first_run["enabled"] == "true";
        let words = first_run["word-length"].as_u64().unwrap_or(0);
        // A passphrase longer than a console line is useless; 16 words are 256 bits.
        let first_run_words = (is_enabled && words >= 1).then(|| usize::try_from(words.min(16)).unwrap_or(16));

        let max_upload = root["max-upload-bytes"].as_u64().unwrap_or(DEFAULT_MAX_UPLOAD);
        let legacy = match root["legacy"].as_str() {
            Some("deny") => Legacy::Deny,
            Some("warn") => Legacy::Warn,
            _ => Legacy::Allow,
        };
        let hosts = strings("hosts").into_iter().map(str::to_ascii_lowercase).collect();
        let refusals = root["refusals-per-minute"].as_u64().and_then(|number| u32::try_from(number).ok());
        let refusals_per_minute = refusals.unwrap_or(DEFAULT_REFUSALS);
        Ok(Config {
            features,
            parameters,
            is_known: true,
            first_run_words,
            max_upload,
            legacy,
            hosts,
            refusals_per_minute,
            // A value that is not a number is still meant as a limit.
            setup_minutes: match &root["setup-minutes"] {
                Value::Null => None,
                minutes => Some(minutes.as_u64().unwrap_or(0)),
            },
        })
    }

    /// Whether a part of the API is enabled; a part without a feature always is.
    pub fn is_enabled(&self, feature: Option<Feature>) -> bool {
        feature.is_none_or(|feature| self.features.contains(&feature))
    }

    /// Whether a form field of this name is accepted at all.
    pub fn accepts_field(&self, name: &str) -> bool {
        ALWAYS_ACCEPTED.contains(&name) || self.parameters.iter().any(|parameter| parameter == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, features: &[Feature], words: Option<usize>) {
        let config = Config::parse(text.as_bytes()).unwrap();
        let optional: Vec<_> = config.features.into_iter().filter(|feature| *feature != Feature::RebootByGet).collect();
        assert_eq!((optional.as_slice(), config.first_run_words), (features, words), "{text}");
    }

    #[test]
    fn only_known_endpoints_are_enabled_and_first_run_needs_a_passphrase_and_consent() {
        check("", &[], None);
        check(" \n", &[], None);
        check("{}", &[], None);
        check("[1]", &[], None);
        check(r#"{"endpoints":["backup","nothing",7,"settings"]}"#, &[Feature::Settings, Feature::Backup], None);
        check(r#"{"endpoints":"backup"}"#, &[], None);
        check(r#"{"first-run":{"word-length":4,"enabled":true}}"#, &[], Some(4));
        check(r#"{"first-run":{"word-length":4,"enabled":"true"}}"#, &[], Some(4));
        check(r#"{"first-run":{"word-length":4,"enabled":1}}"#, &[], None);
        check(r#"{"first-run":{"word-length":0,"enabled":true}}"#, &[], None);
        check(r#"{"first-run":{"word-length":-1,"enabled":true}}"#, &[], None);
        check(r#"{"first-run":{"word-length":4000000000,"enabled":true}}"#, &[], Some(16));
        check(r#"{"first-run":true}"#, &[], None);
    }

    #[test]
    fn a_file_that_is_not_json_says_why() {
        assert!(Config::parse(b"{\"endpoints\":").is_err());
    }

    #[test]
    fn the_way_to_restart_and_the_old_credentials_can_be_chosen() {
        for (text, get, post, legacy) in [
            ("{}", true, false, Legacy::Allow),
            (r#"{"reboot":"post","legacy":"deny"}"#, false, true, Legacy::Deny),
            (r#"{"reboot":"both","legacy":"warn"}"#, true, true, Legacy::Warn),
            (r#"{"reboot":"never","legacy":7}"#, true, false, Legacy::Allow),
        ] {
            let config = Config::parse(text.as_bytes()).unwrap();
            let is_enabled = |feature| config.is_enabled(Some(feature));
            assert_eq!(
                (is_enabled(Feature::RebootByGet), is_enabled(Feature::RebootByPost), config.legacy),
                (get, post, legacy),
                "{text}"
            );
        }
    }

    #[test]
    fn the_limit_of_an_upload_can_be_set() {
        assert_eq!(Config::parse(br#"{"max-upload-bytes":1000}"#).unwrap().max_upload, 1000);
        assert_eq!(Config::parse(br#"{"max-upload-bytes":"x"}"#).unwrap().max_upload, DEFAULT_MAX_UPLOAD);
    }
}
