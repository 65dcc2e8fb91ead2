//! The job `token`.

use super::appliance::under_each_shell;

#[test]
fn a_token_is_put_in_force_and_ends_the_first_run() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/api.token", "old\n");
        appliance.write("admin/etc/api.token.setup", "four-words-of-ours\n");
        appliance.upload("api.token", "!new~\r\n");
        let outcome = appliance.succeed("token");
        assert_eq!(outcome.stdout, "");
        assert_eq!(appliance.read("admin/etc/api.token"), "!new~\n");
        assert_eq!(appliance.mode("admin/etc/api.token"), 0o660);
        assert_eq!(appliance.read("admin/etc/api.token.setup"), "");
        assert_eq!(appliance.mode("admin/etc/api.token.setup"), 0o660);
        assert_eq!(appliance.files("admin/home/sftp/uploads"), [".token.lock"]);
        assert!(!appliance.read("admin/log/update_token.log").contains("new"), "a secret in the log");
    });
}

#[test]
fn a_bad_token_changes_nothing() {
    let long = "x".repeat(256);
    for (token, reason) in [
        ("", "The token must be one line"),
        ("\n", "The token is empty"),
        ("two\nlines\n", "The token must be one line"),
        ("with space\n", "The token has a character that is not printable ASCII"),
        ("umlaut-\u{e4}\n", "The token has a character that is not printable ASCII"),
        (&long, "The token is longer than 255 characters"),
        (&long.repeat(2), "api.token is too large"),
    ] {
        under_each_shell(|appliance| {
            appliance.write("admin/etc/api.token", "old\n");
            appliance.write("admin/etc/api.token.setup", "words\n");
            appliance.upload("api.token", token);
            appliance.refuse("token", reason);
            assert_eq!(appliance.read("admin/etc/api.token"), "old\n");
            assert_eq!(appliance.read("admin/etc/api.token.setup"), "words\n");
        });
    }
}

#[test]
fn no_token_is_an_error() {
    under_each_shell(|appliance| appliance.refuse("token", "Missing token"));
}
