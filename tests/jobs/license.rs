//! The job `license` and our `license.sh`.

use super::appliance::{Appliance, Shell, sh, under_each_shell};

const JSON: &str = "{\"app\":\"enterprise\",\"users\":20}\n";

fn symmetric(appliance: &Appliance, json: &str, pass: &str) -> String {
    appliance.write("vendor/license.json", json);
    appliance.write("vendor/pass", pass);
    sh(
        &appliance.path("vendor"),
        "mkdir -m 700 -p gnupg
         gpg --homedir gnupg --batch --quiet --pinentry-mode loopback --passphrase-file pass \
             --armor --symmetric --output - license.json
         gpgconf --homedir gnupg --kill gpg-agent",
    )
}

#[test]
fn a_valid_license_is_stored_and_printed() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/license.key", "pass phrase\n");
        let license = symmetric(appliance, JSON, "pass phrase\n");
        appliance.upload("license.asc", &license);
        appliance.succeed("license");
        assert_eq!(appliance.read("admin/etc/license.asc"), license);
        assert_eq!(appliance.mode("admin/etc/license.asc"), 0o640);
        let output = appliance.command(&appliance.path("admin/bin/license.sh")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), JSON);
    });
}

#[test]
fn a_license_that_cannot_be_opened_keeps_the_previous_one() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/license.key", "pass phrase\n");
        let good = symmetric(appliance, JSON, "pass phrase\n");
        appliance.write("admin/etc/license.asc", &good);
        for bad in [
            "garbage".to_owned(),
            symmetric(appliance, JSON, "another\n"),
            symmetric(appliance, "text\n", "pass phrase\n"),
        ] {
            appliance.upload("license.asc", &bad);
            appliance.refuse("license", "Invalid license file");
            assert_eq!(appliance.read("admin/etc/license.asc"), good);
        }
        appliance.upload("license.asc", "");
        appliance.refuse("license", "The license file is empty");
        appliance.refuse("license", "Missing license file");
        assert_eq!(appliance.files("admin/lib"), ["license.guard", "work.guard", "work/"]);
    });
}

#[test]
fn a_first_license_that_is_invalid_leaves_none() {
    under_each_shell(|appliance| {
        appliance.upload("license.asc", "garbage");
        appliance.refuse("license", "Invalid license file");
        assert!(!appliance.exists("admin/etc/license.asc"));
    });
}

#[test]
fn a_license_must_be_signed_where_the_image_has_the_vendors_key() {
    let appliance = Appliance::new(Shell::Dash);
    appliance.write("vendor/license.json", JSON);
    sh(
        &appliance.path("vendor"),
        "mkdir -m 700 gnupg; export GNUPGHOME=$PWD/gnupg
         for who in vendor stranger appliance; do
             gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-gen-key $who@example future-default default never
         done
         gpg --batch --export vendor@example >../admin/etc/license.pub
         gpg --batch --pinentry-mode loopback --passphrase '' --export-secret-keys appliance@example >../admin/etc/license.gpg
         for who in vendor stranger; do
             gpg --batch --quiet --trust-model always --pinentry-mode loopback --passphrase '' --armor --local-user $who@example \
                 --sign --encrypt --recipient appliance@example --output $who.asc license.json
         done
         gpg --batch --quiet --trust-model always --armor --encrypt --recipient appliance@example --output nobody.asc license.json
         gpgconf --kill gpg-agent",
    );
    for (signer, accepted) in [("vendor", true), ("stranger", false), ("nobody", false)] {
        appliance.upload("license.asc", appliance.read(&format!("vendor/{signer}.asc")));
        let outcome = appliance.run("license");
        assert_eq!(outcome.code == Some(0), accepted, "{signer}\n{}", appliance.describe());
    }
    assert_eq!(appliance.read("admin/etc/license.asc"), appliance.read("vendor/vendor.asc"));
}
