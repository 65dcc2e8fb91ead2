//! Errors in the configuration file.

use super::{Findings, Severity};
use crate::appliance::{self, Appliance};
use crate::console::machine::USER;
use crate::endpoints::routes::FACTS;
use crate::values::config::{Config, Feature};
use serde_json::Value;
use std::io::ErrorKind;

impl Findings {
    pub(super) fn configuration(&mut self, appliance: &Appliance) {
        let path = appliance.config_file();
        let shown = path.display();
        let text = match appliance::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.add(
                    Severity::Warning,
                    format_args!("{shown} is missing, so only the default endpoints are enabled"),
                    format_args!("create {shown}, with at least {{\"endpoints\":[],\"parameters\":[]}}"),
                );
            }
            Err(error) => {
                return self.add(
                    Severity::Error,
                    format_args!(
                        "{shown} cannot be read ({error}), so only the default endpoints are enabled, and nobody can claim \
                         this appliance"
                    ),
                    format_args!("ls -ld {shown}; it must be a file that the user {USER} can read"),
                );
            }
        };
        if let Err(error) = Config::parse(&text) {
            return self.add(
                Severity::Error,
                format_args!(
                    "{shown} is not valid JSON ({error}), so only the default endpoints are enabled, and nobody can claim \
                     this appliance"
                ),
                format_args!("correct it; `python3 -m json.tool {shown}` shows the error"),
            );
        }
        let config = Config::parse(&text).unwrap_or_default();
        let root: Value = serde_json::from_slice(&text).unwrap_or_default();
        let listed = root["endpoints"].as_array().cloned().unwrap_or_default();
        for name in listed.iter().filter(|name| !Feature::OPTIONAL.iter().any(|feature| *name == feature.name())) {
            let names: Vec<&str> = Feature::OPTIONAL.iter().map(|feature| feature.name()).collect();
            self.add(
                Severity::Warning,
                format_args!("{shown} enables {name}, which is not an optional endpoint"),
                format_args!("remove it from \"endpoints\"; these are valid: {}", names.join(", ")),
            );
        }
        for route in FACTS.iter().filter(|route| config.is_enabled(route.feature)) {
            for field in route.fields.iter().filter(|field| !config.accepts_field(field.name)) {
                self.add(
                    Severity::Error,
                    format_args!(
                        "{} {} is enabled, but its field {} is not, so it returns 400",
                        route.method.as_str(),
                        route.path,
                        field.name
                    ),
                    format_args!("add \"{}\" to \"parameters\" in {shown}", field.name),
                );
            }
        }
    }
}
