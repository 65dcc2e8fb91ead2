//! Storage settings, valid by construction, and the two files in which jobs read them.

use crate::values::json::{self, Object};
use crate::values::network::{Address, Loopback};
use crate::values::rule::{ADDRESS, ALPHANUMERIC, InvalidOption, PRINTABLE, Rule};
use crate::values::shell_conf::ShellConf;
use serde_json::Value;

const ADDRESS_OF_SERVER: Rule = Rule::new("ip", [ADDRESS, ""], 3, 45);

/// The storage types, each with its keys in the order in which they are written.
const TYPES: [(&str, &[Rule]); 5] = [
    ("local", &[]),
    (
        "nfs",
        &[
            Rule::new("mount_options", [ALPHANUMERIC, ".-=,"], 3, 255),
            ADDRESS_OF_SERVER,
            Rule::new("share", [ALPHANUMERIC, ".-_/"], 3, 255),
        ],
    ),
    ("aoe", &[Rule::new("device", [ALPHANUMERIC, ".-"], 3, 255)]),
    (
        "iscsi",
        &[
            Rule::new("target", [ALPHANUMERIC, ".-_:"], 3, 255),
            ADDRESS_OF_SERVER,
            Rule::new("username", [PRINTABLE, ""], 3, 255),
            Rule::new("password", [PRINTABLE, ""], 3, 255),
        ],
    ),
    (
        "nbd",
        &[
            Rule::new("export_name", [ALPHANUMERIC, ".-_/"], 3, 255),
            ADDRESS_OF_SERVER,
            Rule::new("port", ["0123456789", ".-_/"], 1, 5),
        ],
    ),
];

/// The default type if `storage-options.json` lists none.
const DEFAULT_OPTION: &str = "local";

/// The types that an appliance offers, from its `storage-options.json`.
pub fn options(offered: Option<&Object>) -> Vec<String> {
    let options =
        offered.and_then(|root| serde_json::from_slice::<Vec<String>>(root.get("options")?.get().as_bytes()).ok());
    options.filter(|options| !options.is_empty()).unwrap_or_else(|| vec![DEFAULT_OPTION.to_owned()])
}

/// Where the appliance stores its data: a type, and a value for each of its keys.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageSettings {
    kind: &'static str,
    values: Vec<(&'static str, String)>,
}

impl StorageSettings {
    /// Parses the client's `storage` object; `options` are the types that this appliance offers.
    pub fn parse(storage: &Object, options: &[String]) -> Result<StorageSettings, InvalidOption> {
        let offered: Vec<&str> = options.iter().map(String::as_str).collect();
        let wanted = text(storage, "type")?.unwrap_or_default();
        let known = TYPES.iter().find(|(name, _)| *name == wanted && offered.contains(name));
        let Some(&(kind, rules)) = known else {
            return Err(InvalidOption::new("type", &offered.join(", ")));
        };
        let mut values = Vec::with_capacity(rules.len());
        for rule in rules {
            let value = text(storage, rule.name)?.ok_or_else(|| rule.wrong_length())?;
            rule.check(&value)?;
            if *rule == ADDRESS_OF_SERVER {
                Address::parse("ip", value.clone(), Loopback::Allowed)?;
            }
            if rule.name == "port" && !is_port(&value) {
                return Err(InvalidOption::new("port", "1 to 65535"));
            }
            values.push((rule.name, value));
        }
        // The ancestor wrote every key to a file that root sources; an unknown key is a mistake or an attack.
        let is_known = |name: &str| name == "type" || rules.iter().any(|rule| rule.name == name);
        if let Some((name, _)) = storage.members().find(|(name, _)| !is_known(name)) {
            let keys: Vec<&str> = std::iter::once("type").chain(rules.iter().map(|rule| rule.name)).collect();
            return Err(InvalidOption::new(&json::printable(name), &keys.join(", ")));
        }
        Ok(StorageSettings { kind, values })
    }

    /// The same for a JSON text, which must be an object.
    pub fn read(storage: &str, options: &[String]) -> Result<(StorageSettings, Object), InvalidOption> {
        let object = Object::parse(storage)
            .map_err(|_| InvalidOption::worded("storage", "Invalid settings: storage must be an object".to_owned()))?;
        Ok((StorageSettings::parse(&object, options)?, object))
    }

    /// The type.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The value of one of its keys; empty if the type has no such key.
    pub fn value(&self, key: &str) -> &str {
        self.values.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value)
    }

    /// `storage.conf`, which the image's boot scripts source.
    pub fn to_conf(&self) -> String {
        let mut conf = ShellConf::default();
        conf.quoted("type", self.kind);
        for (name, value) in &self.values {
            conf.quoted(name, value);
        }
        conf.into_string()
    }

    /// `storage.json`: the client's object, in its order.
    pub fn to_json(&self, storage: &Object) -> String {
        let members: Vec<String> = storage
            .members()
            .map(|(name, value)| format!("{}:{}", json::quote(name), json::compact(value.get())))
            .collect();
        format!("{{\"storage\":{{{}}}}}\n", members.join(","))
    }
}

/// The text of a member. Only for `port`, a number is accepted as its decimal text.
fn text(storage: &Object, name: &str) -> Result<Option<String>, InvalidOption> {
    let Some(raw) = storage.get(name) else { return Ok(None) };
    match serde_json::from_slice(raw.get().as_bytes()) {
        Ok(Value::String(value)) => Ok(Some(value)),
        Ok(Value::Null) => Ok(None),
        Ok(Value::Number(number)) if name == "port" => Ok(Some(number.to_string())),
        _ => Err(InvalidOption::new(name, "a string")),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(String, String), String> {
        let options: Vec<String> = ["local", "nfs", "iscsi", "nbd"].map(str::to_owned).to_vec();
        let object = Object::parse(text).unwrap();
        let settings = StorageSettings::parse(&object, &options).map_err(|error| error.to_string())?;
        Ok((settings.to_conf(), settings.to_json(&object)))
    }

    #[test]
    fn the_files_are_those_of_the_ancestor() {
        assert_eq!(
            parse(r#"{"type":"local"}"#),
            Ok(("type=\"local\"\n".to_owned(), "{\"storage\":{\"type\":\"local\"}}\n".to_owned()))
        );
        let (conf, _) = parse(r#"{"ip":"10.0.0.1","export_name":"a/b","type":"nbd","port":1043}"#).unwrap();
        assert_eq!(conf, "type=\"nbd\"\nexport_name=\"a/b\"\nip=\"10.0.0.1\"\nport=\"1043\"\n");
    }

    #[test]
    fn each_fault_is_named() {
        for (text, message) in [
            ("{}", "Invalid option: type. Allowed: local, nfs, iscsi, nbd"),
            (r#"{"type":"aoe","device":"e0.1"}"#, "Invalid option: type. Allowed: local, nfs, iscsi, nbd"),
            (r#"{"type":"local","x":"$(reboot)"}"#, "Invalid option: x. Allowed: type"),
            (r#"{"type":"local","\n\u0000":1}"#, "Invalid option: ??. Allowed: type"),
            (
                r#"{"type":"nfs","mount_options":"rw,x","ip":"1.2.3","share":"/x"}"#,
                "Invalid option: ip. Allowed: an IPv4 or IPv6 address",
            ),
            (
                r#"{"type":"nfs","ip":"1.2.3.4","share":"/x"}"#,
                "Invalid string length for option: mount_options. Allowed: >= 3 and <= 255",
            ),
        ] {
            assert_eq!(parse(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_port_is_one_and_a_server_is_a_machine() {
        for (port, is_good) in [
            ("\"1\"", true),
            ("\"65535\"", true),
            ("10809", true),
            ("\"0\"", false),
            ("0", false),
            ("\"65536\"", false),
            ("99999", false),
            ("\"-1\"", false),
            ("-1", false),
            ("1.5", false),
            ("\"1/2\"", false),
            ("\".\"", false),
            ("1e3", false),
        ] {
            let fault = parse(&format!(r#"{{"type":"nbd","export_name":"a/b","ip":"10.0.0.1","port":{port}}}"#));
            assert_eq!(fault.is_ok(), is_good, "{port}: {fault:?}");
            assert!(is_good || fault.unwrap_err().contains("port"), "{port}");
        }
        for (ip, is_good) in
            [("127.0.0.1", true), ("0.0.0.0", false), ("224.0.0.1", false), ("::", false), ("fe80::1", true)]
        {
            let fault = parse(&format!(r#"{{"type":"nfs","mount_options":"rw,x","ip":"{ip}","share":"/x/y"}}"#));
            assert_eq!(fault.is_ok(), is_good, "{ip}");
        }
    }
}
