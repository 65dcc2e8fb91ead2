//! The job `certs` and the judge that it asks: every mistake by its name, and that the old pair stays whatever happens.

use super::appliance::{Appliance, Shell, eventually, sh, under_each_shell};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A little PKI, made once: a root, an intermediate, and leaves with all that can be wrong with one.
fn pki() -> &'static Path {
    static PKI: OnceLock<PathBuf> = OnceLock::new();
    PKI.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("jidoteki-pki-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        sh(&directory, include_str!("pki.sh"));
        directory
    })
}

fn upload(appliance: &Appliance, public: &str, private: &str, ca: &str) {
    appliance.upload("appliance.pem", fs::read(pki().join(public)).unwrap());
    appliance.upload("appliance.key", fs::read(pki().join(private)).unwrap());
    if !ca.is_empty() {
        appliance.upload("ca.pem", fs::read(pki().join(ca)).unwrap());
    }
}

/// A pair in force, as install.sh leaves one.
fn with_old_pair(appliance: &Appliance) {
    appliance.write("etc/tls/pair.0/appliance.pem", fs::read(pki().join("self.pem")).unwrap());
    appliance.write("etc/tls/pair.0/appliance.key", fs::read(pki().join("other.key")).unwrap());
    std::os::unix::fs::symlink("pair.0", appliance.path("etc/tls/current")).unwrap();
}

#[track_caller]
fn check_old_pair_alone(appliance: &Appliance) {
    assert_eq!(appliance.files("etc/tls"), ["current", "pair.0/", "pair.0/appliance.key", "pair.0/appliance.pem"]);
    assert_eq!(fs::read_link(appliance.path("etc/tls/current")).unwrap(), Path::new("pair.0"));
    assert_eq!(appliance.read("admin/etc/status_certs.txt"), "failed\n");
    assert_eq!(appliance.files("admin/lib"), ["certs.guard", "work.guard", "work/"], "{}", appliance.describe());
    assert!(!appliance.exists("admin/etc/pending_certs.txt"));
}

#[track_caller]
fn check_in_force(appliance: &Appliance, expected: &[&str]) {
    let chain: String = expected.iter().map(|name| fs::read_to_string(pki().join(name)).unwrap()).collect();
    assert_eq!(appliance.read("etc/tls/current/appliance.pem"), chain);
    assert_eq!(appliance.mode("etc/tls/current/appliance.key"), 0o600);
    assert_eq!(appliance.mode("etc/tls/current/appliance.pem"), 0o644);
}

#[test]
fn good_pairs_are_installed() {
    for (public, private, ca, expected) in [
        ("leaf.pem", "leaf.key", "middle.pem", &["leaf.pem", "middle.pem"][..]),
        ("leaf.pem", "leaf.key", "chain.pem", &["leaf.pem", "middle.pem", "root.pem"]),
        ("full.pem", "leaf.key", "", &["leaf.pem", "middle.pem"]),
        ("full.pem", "leaf.key", "middle.pem", &["leaf.pem", "middle.pem"]),
        ("crlf.pem", "bom.key", "middle.pem", &["leaf.pem", "middle.pem"]),
        ("rsa.pem", "rsa1.key", "root.pem", &["rsa.pem", "root.pem"]),
        ("self.pem", "other.key", "", &["self.pem"]),
    ] {
        under_each_shell(|appliance| {
            with_old_pair(appliance);
            appliance.write("admin/etc/status_error_certs.txt", "of another day\n");
            upload(appliance, public, private, ca);
            appliance.succeed("certs");
            check_in_force(appliance, expected);
            assert_eq!(appliance.read("admin/etc/status_certs.txt"), "success\n");
            assert!(!appliance.exists("admin/etc/status_error_certs.txt"));
            // The old pair is gone, and nothing is left in between.
            assert_eq!(appliance.files("etc/tls").len(), 4);
            assert_eq!(appliance.files("admin/lib"), ["certs.guard", "work.guard", "work/"]);
            let log = appliance.read("admin/log/update_certs.log");
            assert!(log.contains("][SYSTEM] Validating and adding TLS certificates\n"), "{log}");
            assert!(!log.contains("PRIVATE KEY"), "{log}");
        });
    }
}

/// Has the executable judge a pair, as the job does: its warnings or its reason, and the chain.
fn judge(public: &str, private: &str, ca: &str) -> Result<(Vec<String>, String), String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let work = std::env::temp_dir().join(format!("jidoteki-judge-{}-{number}", std::process::id()));
    fs::create_dir(&work).unwrap();
    for (from, to) in [(public, "appliance.pem"), (private, "appliance.key"), (ca, "ca.pem")] {
        if !from.is_empty() {
            fs::copy(pki().join(from), work.join(to)).unwrap();
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_jidoteki-admin-jobs"))
        .args(["certificate", "judge"])
        .arg(&work)
        .env("JIDO_ADMIN_PATH", work.join("nothing"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let result = if output.status.success() {
        Ok((said.lines().map(str::to_owned).collect(), fs::read_to_string(work.join("chain.pem")).unwrap()))
    } else {
        assert_eq!(said.lines().count(), 1, "{said}{}", String::from_utf8_lossy(&output.stderr));
        Err(said.trim_end().to_owned())
    };
    fs::remove_dir_all(&work).unwrap();
    result
}

#[track_caller]
fn check_good(public: &str, private: &str, ca: &str, expected: &[&str]) -> Vec<String> {
    let chain: String = expected.iter().map(|name| fs::read_to_string(pki().join(name)).unwrap()).collect();
    match judge(public, private, ca) {
        Ok((warnings, found)) => {
            assert_eq!(found, chain, "{public} {private} {ca}");
            warnings
        }
        Err(reason) => panic!("{public} {private} {ca}: {reason}"),
    }
}

#[test]
fn a_pair_is_accepted_in_every_arrangement() {
    for (public, private, ca, expected) in [
        ("glued.pem", "leaf.key", "", &["leaf.pem", "middle.pem"][..]),
        ("bom.pem", "leaf.key", "middle.pem", &["leaf.pem", "middle.pem"]),
        ("leaf.pem", "leaf.key", "reversed.pem", &["leaf.pem", "middle.pem", "root.pem"]),
        ("leaf.pem", "leaf.key", "heap.pem", &["leaf.pem", "middle.pem", "root.pem"]),
        ("upside-down.pem", "leaf.key", "", &["leaf.pem", "middle.pem"]),
        ("upside-down.pem", "leaf.key", "roots.pem", &["leaf.pem", "middle.pem", "root.pem"]),
        ("middle.pem", "leaf.key", "full.pem", &["leaf.pem", "middle.pem"]),
        ("direct.pem", "direct.key", "roots.pem", &["direct.pem", "root.pem"]),
        ("full.pem", "leaf.key", "empty", &["leaf.pem", "middle.pem"]),
        ("full.pem", "leaf.key", "blank", &["leaf.pem", "middle.pem"]),
        ("indented.pem", "leaf.key", "middle.pem", &["leaf.pem", "middle.pem"]),
        ("cr.pem", "leaf.key", "middle.pem", &["leaf.pem", "middle.pem"]),
        ("escaped.pem", "escaped.key", "middle.pem", &["leaf.pem", "middle.pem"]),
        ("utf16.pem", "leaf.key", "middle.pem", &["leaf.pem", "middle.pem"]),
        ("bag.pem", "leaf.key", "middle.pem", &["leaf.pem", "middle.pem"]),
        ("text.pem", "leaf.key", "middle.pem", &["leaf.pem", "middle.pem"]),
        ("both.pem", "both.pem", "", &["leaf.pem", "middle.pem"]),
        ("renewed.pem", "leaf.key", "middles.pem", &["leaf.pem", "middle.pem"]),
        ("leaf.pem", "leaf.key", "crossed.pem", &["leaf.pem", "middle.pem"]),
        ("any.pem", "any.key", "root.pem", &["any.pem", "root.pem"]),
        ("pss.pem", "pss.key", "rsaroot.pem", &["pss.pem", "rsaroot.pem"]),
        ("large.pem", "large.key", "root.pem", &["large.pem", "root.pem"]),
        ("converted.pem", "leaf.key", "", &["leaf.pem", "middle.pem"]),
    ] {
        check_good(public, private, ca, expected);
    }
}

#[test]
fn omitted_certificates_are_reported() {
    let warnings = check_good("leaf.pem", "leaf.key", "heap.pem", &["leaf.pem", "middle.pem", "root.pem"]);
    let left_out = "Left out, because it is not part of the chain: CN=Test Root 2".to_owned();
    assert!(warnings.contains(&left_out), "{warnings:?}");
}

#[test]
fn every_mistake_has_its_name() {
    const SWAPPED: &str = "The certificate is a private key: were the two files swapped?";
    const ENCRYPTED: &str =
        "The private key is encrypted. Remove its passphrase first: openssl pkey -in FILE -out NEW.pem";
    const OLD_BUNDLE: &str = "The certificate is a PKCS#12 file with an old cipher. Convert it: openssl pkcs12 -legacy -in FILE -nodes -out NEW.pem, and send that as both";
    const BUNDLE: &str =
        "The certificate is a PKCS#7 bundle. Convert it: openssl pkcs7 -print_certs -in FILE -out NEW.pem";
    const REQUEST: &str =
        "The certificate is a certificate request. Send it to your CA, and send the certificate that it issues";
    const CURVE: &str = "The certificate has a key that is of a curve other than P-256 and P-384, which browsers refuse: use RSA, P-256 or P-384";
    for (public, private, ca, reason) in [
        ("leaf.pem", "encrypted.key", "", ENCRYPTED),
        ("leaf.pem", "encrypted1.key", "", ENCRYPTED),
        ("leaf.pem", "other.key", "middle.pem", "The private key belongs to another certificate"),
        ("leaf.key", "leaf.pem", "", "The private key is a certificate: were the two files swapped?"),
        ("leaf.key", "leaf.key", "", SWAPPED),
        (
            "der.pem",
            "leaf.key",
            "",
            "The certificate is DER and not PEM. Convert it: openssl x509 -inform DER -in FILE -out NEW.pem",
        ),
        (
            "leaf.pem",
            "key.der",
            "",
            "The private key is DER and not PEM. Convert it: openssl pkey -inform DER -in FILE -out NEW.pem",
        ),
        (
            "leaf.pem",
            "leaf.key",
            "der.pem",
            "The CA certificate is DER and not PEM. Convert it: openssl x509 -inform DER -in FILE -out NEW.pem",
        ),
        ("broken.pem", "leaf.key", "", "The certificate is damaged"),
        ("leaf.pem", "broken.key", "", "The private key is damaged"),
        ("leaf.pem", "leaf.key", "broken.pem", "The CA certificate is damaged"),
        ("leaf.pem", "two.key", "middle.pem", "The private key is not one key: the file has several"),
        ("leaf.pem", "ca.cnf", "middle.pem", "The private key is not PEM"),
        ("leaf.pem", "public.pem", "middle.pem", "The private key is a public key"),
        (
            "leaf.pem",
            "ssh.key",
            "middle.pem",
            "The private key is a key of OpenSSH. Convert it: ssh-keygen -p -m PEM -f FILE",
        ),
        ("request.pem", "leaf.key", "", REQUEST),
        ("iis.pem", "leaf.key", "", REQUEST),
        ("request.der", "leaf.key", "", REQUEST),
        ("bundle.p7b", "leaf.key", "", BUNDLE),
        ("certnew.p7b", "leaf.key", "", BUNDLE),
        (
            "leaf.pem",
            "leaf.key",
            "certnew.p7b",
            "The CA certificate is a PKCS#7 bundle. Convert it: openssl pkcs7 -print_certs -in FILE -out NEW.pem",
        ),
        (
            "leaf.pem",
            "keystore.jks",
            "",
            "The private key is a key store of Java. Convert it: keytool -importkeystore -srckeystore FILE -destkeystore NEW.p12 -deststoretype PKCS12; openssl pkcs12 -in NEW.p12 -nodes -out NEW.pem, and send that as both",
        ),
        (
            "bundle.der",
            "leaf.key",
            "",
            "The certificate is a PKCS#7 bundle. Convert it: openssl pkcs7 -inform DER -print_certs -in FILE -out NEW.pem",
        ),
        (
            "bundle.p12",
            "leaf.key",
            "",
            "The certificate is a PKCS#12 file. Convert it: openssl pkcs12 -in FILE -nodes -out NEW.pem, and send that as both",
        ),
        ("old.p12", "leaf.key", "", OLD_BUNDLE),
        ("mixed.p12", "leaf.key", "", OLD_BUNDLE),
        ("short.pem", "short.key", "root.pem", "The private key is too short: 1024 bits, at least 2048 needed"),
        (
            "leaf.pem",
            "leaf.key",
            "root.pem",
            "The chain is incomplete: the certificate that issued CN=appliance.example is missing",
        ),
        (
            "full.pem",
            "leaf.key",
            "root2.pem",
            "The chain is incomplete: the certificate that issued CN=Test Middle is missing",
        ),
        (
            "leaf.pem",
            "leaf.key",
            "",
            "The chain is incomplete: send the certificate of its issuer, CN=Test Middle, as ca",
        ),
        (
            "leaf.pem",
            "leaf.key",
            "again.pem",
            "CN=appliance.example was not signed by the key of the CA certificate CN=Test Middle: was that CA certificate renewed?",
        ),
        ("nameless.pem", "nameless.key", "root.pem", "The certificate has no name that could match this appliance"),
        (
            "client.pem",
            "client.key",
            "root.pem",
            "The certificate is not for servers: its extended key usage lacks serverAuth",
        ),
        (
            "mail.pem",
            "mail.key",
            "root.pem",
            "The certificate is not for servers: its extended key usage lacks serverAuth",
        ),
        (
            "wrap.pem",
            "wrap.key",
            "root.pem",
            "The certificate may not sign a TLS connection: its key usage lacks digitalSignature",
        ),
        (
            "critical.pem",
            "critical.key",
            "root.pem",
            "The certificate has a critical extension that clients do not know: 1.3.6.1.4.1.99999.7",
        ),
        (
            "byodd.pem",
            "byodd.key",
            "odd.pem",
            "The CA certificate CN=Test odd has a critical extension that clients do not know: 1.3.6.1.4.1.99999.8",
        ),
        (
            "bymute.pem",
            "bymute.key",
            "mute.pem",
            "The CA certificate CN=Test mute may not sign certificates: its key usage lacks keyCertSign",
        ),
        (
            "byplain.pem",
            "byplain.key",
            "plain.pem",
            "The CA certificate CN=Test plain is not that of a CA: its basicConstraints do not say CA:TRUE",
        ),
        (
            "bysilent.pem",
            "bysilent.key",
            "silent.pem",
            "The CA certificate CN=Test silent is not that of a CA: its basicConstraints do not say CA:TRUE",
        ),
        (
            "bymailca.pem",
            "bymailca.key",
            "mailca.pem",
            "The CA certificate CN=Test mailca is not for servers: its extended key usage lacks serverAuth",
        ),
        (
            "bybelow.pem",
            "bybelow.key",
            "long.pem",
            "The CA certificate CN=Test narrow allows 0 CA certificates below it, and there are 1: its path length is too short",
        ),
        (
            "outside.pem",
            "outside.key",
            "corp.pem",
            "A name of CN=appliance.example is outside the name constraints of the CA certificate CN=Test corp",
        ),
        (
            "explicit.pem",
            "explicit.key",
            "root.pem",
            "The certificate has an EC key with explicit parameters, which no client accepts: make a key with a named curve, such as P-256",
        ),
        ("koblitz.pem", "koblitz.key", "root.pem", CURVE),
        ("brain.pem", "brain.key", "root.pem", CURVE),
        (
            "edwards.pem",
            "edwards.key",
            "root.pem",
            "The certificate has a key that is Ed25519 or Ed448, which browsers refuse: use RSA, P-256 or P-384",
        ),
        ("sha1.pem", "sha1.key", "root.pem", "The certificate is signed with SHA-1, which browsers refuse"),
    ] {
        assert_eq!(
            judge(public, private, ca).map(|(warnings, _)| warnings),
            Err(reason.to_owned()),
            "{public} {private} {ca}"
        );
    }
}

#[test]
fn a_refused_pair_leaves_the_old_one() {
    let reason = "The certificate is not for servers: its extended key usage lacks serverAuth";
    under_each_shell(|appliance| {
        with_old_pair(appliance);
        upload(appliance, "client.pem", "client.key", "root.pem");
        appliance.refuse("certs", reason);
        check_old_pair_alone(appliance);
        assert_eq!(appliance.read("admin/etc/status_error_certs.txt"), format!("{reason}\n"));
    });
}

/// As a client sends them that keeps the certificate of before in the file.
#[test]
fn of_several_certificates_for_the_key_the_one_that_ends_last_is_served() {
    let fresh = fs::read_to_string(pki().join("fresh.pem")).unwrap();
    for public in ["leaffresh.pem", "freshleaf.pem"] {
        let (_, chain) = judge(public, "leaf.key", "middle.pem").unwrap();
        assert!(chain.starts_with(&fresh), "{public}: {chain}");
    }
}

#[test]
fn dates_are_reported_with_their_certificate_and_the_clock_that_judged_them() {
    for (public, private, ca, begin) in [
        ("expired.pem", "expired.key", "root.pem", "The certificate has expired: it ended 20"),
        ("early.pem", "leaf.key", "root.pem", "The certificate is not yet valid: it begins 20"),
        ("bygone.pem", "bygone.key", "gonechain.pem", "The CA certificate CN=Test gone has expired: it ended 20"),
        ("bygone.pem", "bygone.key", "gone.pem", "The CA certificate CN=Test gone has expired: it ended 20"),
    ] {
        let reason = judge(public, private, ca).map(|(warnings, _)| warnings).unwrap_err();
        assert!(reason.starts_with(begin), "{reason}");
        // With the time: a new certificate and a slow clock are often of the same day.
        let clock = reason.rsplit_once(", and the clock of this appliance says 20").map(|(_, clock)| clock.len());
        assert_eq!(clock, Some("26-11-27T12:00:00Z".len()), "{reason}");
    }
}

#[test]
fn a_certificate_that_some_browser_refuses_gets_a_warning() {
    for (name, warning) in [
        ("staple", "Warning: the certificate demands OCSP stapling (must-staple), so Firefox refuses it"),
        ("years", "Warning: the certificate is valid for 826 days, and Safari refuses more than 825"),
    ] {
        let (public, private) = (format!("{name}.pem"), format!("{name}.key"));
        let warnings = check_good(&public, &private, "root.pem", &[&public, "root.pem"]);
        assert!(warnings.iter().any(|said| said == warning), "{name}: {warnings:?}");
    }
    let warnings = check_good("direct.pem", "direct.key", "root.pem", &["direct.pem", "root.pem"]);
    assert!(!warnings.iter().any(|said| said.contains("Safari") || said.contains("Firefox")), "{warnings:?}");
}

#[test]
fn a_valid_but_surprising_certificate_gets_a_warning() {
    let common = "Warning: the certificate has no subjectAltName, and browsers ignore its common name";
    let large = "Warning: the certificate has a key of the curve P-521, which Chrome refuses";
    let wide = "Warning: browsers ignore the name *.EXAMPLE: a wildcard needs two labels after it";
    for (name, warning) in [("common", Some(common)), ("large", Some(large)), ("loopback", None), ("wide", Some(wide))]
    {
        let (public, private) = (format!("{name}.pem"), format!("{name}.key"));
        let warnings = check_good(&public, &private, "root.pem", &[&public, "root.pem"]);
        for known in [common, large, wide] {
            assert_eq!(warnings.iter().any(|said| said == known), Some(known) == warning, "{name}: {warnings:?}");
        }
        // The machine's own address, however it is written, is a name of it.
        let unnamed = warnings.iter().any(|said| said.starts_with("Warning: no name of the certificate matches"));
        assert_eq!(unnamed, name != "loopback", "{name}: {warnings:?}");
    }
    let warnings = check_good("any.pem", "any.key", "root.pem", &["any.pem", "root.pem"]);
    let refused = "Warning: clients that use OpenSSL, such as curl, refuse this chain (openssl error 26)".to_owned();
    assert!(warnings.contains(&refused), "{warnings:?}");
    // One that is kept for 30 days ends after 29 whole ones.
    let warnings = check_good("direct.pem", "direct.key", "root.pem", &["direct.pem", "root.pem"]);
    assert!(warnings.iter().any(|said| said == "Warning: the certificate expires in 29 days"), "{warnings:?}");
}

#[test]
fn names_that_do_not_match_are_reported_and_no_more() {
    for (own, public, warned) in [
        ("appliance.example", "leaf.pem", None),
        ("APPLIANCE", "leaf.pem", None),
        ("other.example", "leaf.pem", Some("appliance.example 192.0.2.7")),
        ("appliance.example.org", "leaf.pem", Some("appliance.example 192.0.2.7")),
        ("box.corp.example", "wild.pem", None),
        ("box.example", "wide.pem", Some("*.EXAMPLE")),
    ] {
        let appliance = Appliance::new(Shell::Dash);
        appliance.write("admin/etc/network.json", format!("{{\"mode\":\"dhcp\",\"hostname\":\"{own}\"}}"));
        upload(&appliance, public, &public.replace(".pem", ".key"), "chain.pem");
        appliance.succeed("certs");
        let log = appliance.read("admin/log/update_certs.log");
        let names = warned.unwrap_or_default();
        let warning = format!("Warning: no name of the certificate matches this appliance: {names}");
        assert_eq!(log.contains(&warning), warned.is_some(), "{own}: {log}");
    }
}

#[test]
fn missing_files_are_named() {
    under_each_shell(|appliance| {
        appliance.refuse("certs", "Missing certificate");
        appliance.upload("appliance.pem", "x");
        appliance.refuse("certs", "Missing private key");
    });
}

/// A web server that records what it is told and fails when the test says so.
const WEB_SERVER: &str =
    "here=${0%/*}/../..; echo \"$1 $(readlink \"$JIDO_ETC_PATH/tls/current\" | cut -c1-6)\" >>\"$here/record\"
[ \"$1\" != address ] || exit 0
[ ! -f \"$here/refuse-$1\" ] || [ \"$(readlink \"$JIDO_ETC_PATH/tls/current\")\" = pair.0 ]";

#[test]
fn a_web_server_that_refuses_the_pair_keeps_the_old_one() {
    for (step, reason) in
        [("test", "The web server does not accept this certificate"), ("reload", "The web server did not reload")]
    {
        under_each_shell(|appliance| {
            with_old_pair(appliance);
            appliance.hook("admin/bin/web-server.sh", WEB_SERVER);
            appliance.write(&format!("refuse-{step}"), "");
            upload(appliance, "leaf.pem", "leaf.key", "middle.pem");
            appliance.refuse("certs", reason);
            check_old_pair_alone(appliance);
            assert!(appliance.record().ends_with("reload pair.0\n"), "{}", appliance.record());
        });
    }
}

#[test]
fn a_client_must_get_the_new_certificate() {
    let appliance = Appliance::new(Shell::Dash);
    with_old_pair(&appliance);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // A real server, which keeps the pair that it has read; "reload" starts it again only if it may.
    let server = format!(
        "here=${{0%/*}}/../..
        case $1 in
        test) exit 0 ;;
        address) echo 127.0.0.1:{port} ;;
        reload)
            [ ! -f $here/deaf ] || exit 0
            [ ! -f $here/server ] || kill $(cat $here/server)
            openssl s_server -accept 127.0.0.1:{port} -cert $JIDO_ETC_PATH/tls/current/appliance.pem \
                -key $JIDO_ETC_PATH/tls/current/appliance.key -www </dev/null >/dev/null 2>&1 &
            echo $! >$here/server ;;
        esac"
    );
    appliance.hook("admin/bin/web-server.sh", &server);
    upload(&appliance, "leaf.pem", "leaf.key", "middle.pem");
    appliance.succeed("certs");
    check_in_force(&appliance, &["leaf.pem", "middle.pem"]);
    // What the minute sees and notes is the same.
    appliance.tend();
    let served = appliance.read("admin/etc/served_certificate.txt");
    let openssl = sh(pki(), "openssl x509 -in leaf.pem -noout -fingerprint -sha256");
    assert_eq!(openssl.trim().split_once('=').unwrap().1, served.trim());
    appliance.write("deaf", "");
    upload(&appliance, "rsa.pem", "rsa.key", "root.pem");
    appliance.refuse("certs", "The web server does not serve the new certificate");
    check_in_force(&appliance, &["leaf.pem", "middle.pem"]);
    sh(&appliance.root, "kill $(cat server)");
}

#[test]
fn a_change_is_confirmed_or_rolled_back() {
    under_each_shell(|appliance| {
        with_old_pair(appliance);
        appliance.hook("admin/bin/web-server.sh", WEB_SERVER);
        for confirmed in [false, true] {
            upload(appliance, "leaf.pem", "leaf.key", "middle.pem");
            appliance.upload("certs.confirm", "3600\n");
            appliance.succeed("certs");
            check_in_force(appliance, &["leaf.pem", "middle.pem"]);
            assert!(appliance.read("admin/etc/pending_certs.txt").starts_with("boot_id="));
            upload(appliance, "rsa.pem", "rsa.key", "root.pem");
            appliance.refuse("certs", "A change of certificates is waiting for confirmation");
            check_in_force(appliance, &["leaf.pem", "middle.pem"]);
            appliance.recover();
            check_in_force(appliance, &["leaf.pem", "middle.pem"]);
            if confirmed {
                appliance.succeed("certs confirm");
                appliance.refuse("certs confirm", "No change of certificates is waiting for confirmation");
                appliance.recover();
                check_in_force(appliance, &["leaf.pem", "middle.pem"]);
                assert_eq!(appliance.files("etc/tls").len(), 4);
            } else {
                appliance.write("admin/etc/pending_certs.txt", "boot_id=another\ndeadline=999999999\n");
                appliance.recover();
                check_old_pair_alone(appliance);
                assert_eq!(
                    appliance.read("admin/etc/status_error_certs.txt"),
                    "The change of certificates was not confirmed in time\n"
                );
            }
        }
    });
}

#[test]
fn a_certificate_is_rolled_back_at_once() {
    under_each_shell(|appliance| {
        with_old_pair(appliance);
        appliance.hook("admin/bin/web-server.sh", WEB_SERVER);
        appliance.refuse("certs undo", "No change of certificates is waiting for confirmation");
        upload(appliance, "leaf.pem", "leaf.key", "middle.pem");
        appliance.upload("certs.confirm", "3600\n");
        appliance.succeed("certs");
        check_in_force(appliance, &["leaf.pem", "middle.pem"]);
        appliance.succeed("certs undo");
        assert_eq!(fs::read_link(appliance.path("etc/tls/current")).unwrap(), Path::new("pair.0"));
        assert_eq!(appliance.files("etc/tls").len(), 4, "the other pair is gone, with its key");
        assert_eq!(appliance.read("admin/etc/status_certs.txt"), "success\n");
        assert!(!appliance.exists("admin/etc/pending_certs.txt") && !appliance.exists("admin/lib/certs.undo"));
        appliance.refuse("certs confirm", "No change of certificates is waiting for confirmation");
    });
}

#[test]
fn an_unconfirmed_certificate_is_rolled_back_in_time() {
    let appliance = Appliance::new(Shell::Busybox);
    with_old_pair(&appliance);
    appliance.let_timers_run();
    upload(&appliance, "leaf.pem", "leaf.key", "middle.pem");
    appliance.upload("certs.confirm", "10");
    appliance.succeed("certs");
    // By the log, because on a machine that is busy the ten seconds may be over already.
    let log = appliance.read("admin/log/update_certs.log");
    assert!(log.contains("Waiting 10 seconds for confirmation"), "{log}");
    eventually("the old pair returns", || appliance.maybe("admin/etc/status_certs.txt").as_deref() == Some("failed\n"));
    // The owner's note goes last.
    eventually("it has tidied up", || !appliance.exists("admin/lib/certs.owner"));
    check_old_pair_alone(&appliance);
}

/// What a CA makes of the request that waits.
fn issue(appliance: &Appliance, name: &str) {
    sh(
        &appliance.root,
        &format!(
            "openssl x509 -req -in admin/etc/certs_request.pem -copy_extensions copy -days 90 -CA {pki}/middle.pem \
             -CAkey {pki}/middle.key -out {name}",
            pki = pki().display()
        ),
    );
}

#[test]
fn a_request_is_made_here_and_its_key_never_leaves() {
    for kind in ["ec", "rsa"] {
        under_each_shell(|appliance| {
            with_old_pair(appliance);
            appliance.upload("request.txt", format!("{kind}\nappliance.example,*.box.example,2001:db8::1\n"));
            appliance.succeed("certs csr");
            assert_eq!(appliance.mode("admin/lib/certs.request.key"), 0o600);
            issue(appliance, "issued.pem");
            let text = sh(&appliance.root, "openssl x509 -in issued.pem -noout -ext subjectAltName,extendedKeyUsage");
            for name in ["DNS:appliance.example", "DNS:*.box.example", "IP Address:2001:DB8:0:0:0:0:0:1", "Server"] {
                assert!(text.contains(name), "{text}");
            }
            // Another one's key does not fit it, and both stay.
            upload(appliance, "leaf.pem", "leaf.key", "middle.pem");
            fs::remove_file(appliance.path("admin/home/sftp/uploads/appliance.key")).unwrap();
            appliance.refuse("certs", "The private key belongs to another certificate");
            assert!(appliance.exists("admin/lib/certs.request.key"));
            appliance.upload("appliance.pem", appliance.read("issued.pem"));
            appliance.upload("ca.pem", fs::read(pki().join("middle.pem")).unwrap());
            appliance.succeed("certs");
            assert!(appliance.read("etc/tls/current/appliance.pem").starts_with(&appliance.read("issued.pem")));
            assert_eq!(appliance.files("admin/lib"), ["certs.guard", "work.guard", "work/"], "the key was used");
            assert!(!appliance.exists("admin/etc/certs_request.pem"));
            appliance.upload("appliance.pem", appliance.read("issued.pem"));
            appliance.refuse("certs", "Missing private key");
            assert!(!appliance.read("admin/log/update_certs.log").contains("PRIVATE KEY"));
        });
    }
}

#[test]
fn a_request_is_replaced_by_the_next_and_forgotten_on_demand() {
    under_each_shell(|appliance| {
        let mut requests = Vec::new();
        for _ in 0..2 {
            appliance.upload("request.txt", "ec\nbox\n");
            appliance.succeed("certs csr");
            requests.push(appliance.read("admin/etc/certs_request.pem"));
        }
        assert_ne!(requests[0], requests[1]);
        for text in ["", "ec\n", "ec\na..b\n", "ec\nbox\\nx\n", "dsa\nbox\n"] {
            appliance.upload("request.txt", text);
            let outcome = appliance.run("certs csr");
            assert_ne!(outcome.code, Some(0), "{text:?}");
        }
        assert_eq!(appliance.read("admin/etc/certs_request.pem"), requests[1], "what is refused replaces nothing");
        appliance.succeed("certs forget");
        assert_eq!(appliance.files("admin/lib"), ["certs.guard", "work.guard", "work/"]);
        assert!(!appliance.exists("admin/etc/certs_request.pem"));
    });
}

#[test]
fn a_waiting_key_stays_until_its_certificate_is_confirmed() {
    under_each_shell(|appliance| {
        with_old_pair(appliance);
        appliance.upload("request.txt", "ec\nbox\n");
        appliance.succeed("certs csr");
        issue(appliance, "issued.pem");
        for confirmed in [false, true] {
            appliance.upload("appliance.pem", appliance.read("issued.pem"));
            appliance.upload("ca.pem", fs::read(pki().join("middle.pem")).unwrap());
            appliance.upload("certs.confirm", "3600\n");
            appliance.succeed("certs");
            assert!(appliance.exists("admin/lib/certs.request.key"));
            if confirmed {
                appliance.succeed("certs confirm");
            } else {
                appliance.write("admin/etc/pending_certs.txt", "boot_id=another\ndeadline=999999999\n");
                appliance.recover();
                check_in_force_is_old(appliance);
            }
            assert_eq!(appliance.exists("admin/lib/certs.request.key"), !confirmed);
        }
    });
}

fn check_in_force_is_old(appliance: &Appliance) {
    assert_eq!(fs::read_link(appliance.path("etc/tls/current")).unwrap(), Path::new("pair.0"));
}

// --- our own certificate ---

/// Runs the script that makes it, perhaps on another day; whether it made one.
fn make_own(appliance: &Appliance, day: Option<&str>) -> bool {
    let before = fs::read_link(appliance.path("etc/tls/current")).ok();
    let script = super::appliance::repository().join("nginx/edge/self-signed.sh");
    let mut command = Command::new(if day.is_some() { "faketime" } else { "sh" });
    if let Some(day) = day {
        command.arg(day).arg("sh");
    }
    let path = format!("{}:{}", appliance.path("fakes").display(), std::env::var("PATH").unwrap());
    let output = command.arg(script).arg(appliance.path("etc/tls")).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_link(appliance.path("etc/tls/current")).ok() != before
}

fn machine_with_name(name: &str) -> Appliance {
    let appliance = Appliance::new(Shell::Dash);
    appliance.hook("fakes/hostname", &format!("echo {name}"));
    appliance
}

#[test]
fn our_own_certificate_is_renewed_when_it_becomes_unusable() {
    for (day, anew) in [
        (Some("2022-01-01"), true),
        (Some("1970-01-02"), true),
        (Some("2049-01-01"), true),
        (Some("-800 days"), true),
        (Some("-700 days"), false),
        (None, false),
    ] {
        let appliance = machine_with_name("box.example");
        assert!(make_own(&appliance, day), "there was none");
        assert_eq!(make_own(&appliance, None), anew, "made on {day:?}");
        assert!(!make_own(&appliance, None), "made on {day:?}: once is enough");
    }
}

#[test]
fn our_own_certificate_names_the_machine_as_it_is_now() {
    let appliance = machine_with_name("box.example");
    let program = appliance.path("fakes/jidoteki-admin-jobs");
    // Without our program nobody asks the kernel, as on a machine that had another name and no address then.
    fs::rename(&program, appliance.path("away")).unwrap();
    // Not even one that is installed on the machine of the test.
    appliance.hook("fakes/jidoteki-admin-jobs", "exit 127");
    make_own(&appliance, None);
    assert!(!make_own(&appliance, None));
    fs::rename(appliance.path("away"), &program).unwrap();
    assert!(make_own(&appliance, None));
    assert!(!make_own(&appliance, None));
}

#[test]
fn an_owners_certificate_is_never_replaced() {
    for name in ["expired", "self"] {
        let appliance = machine_with_name("box.example");
        make_own(&appliance, Some("2022-01-01"));
        // Put over ours, with everything that lies beside it, and with the name that ours has.
        fs::copy(pki().join(format!("{name}.pem")), appliance.path("etc/tls/current/appliance.pem")).unwrap();
        assert!(!make_own(&appliance, None), "{name}");
    }
}

#[test]
fn the_minute_renews_our_certificate_and_notes_which_one_is_served() {
    under_each_shell(|appliance| {
        appliance.hook("fakes/hostname", "echo box.example");
        assert!(make_own(appliance, Some("2022-01-01")));
        fs::copy(
            super::appliance::repository().join("nginx/edge/self-signed.sh"),
            appliance.path("admin/bin/self-signed.sh"),
        )
        .unwrap();
        appliance.hook("admin/bin/web-server.sh", WEB_SERVER);
        for expected in [1, 0] {
            appliance.write("record", "");
            appliance.tend();
            let record = appliance.record();
            assert_eq!(record.lines().filter(|line| line.starts_with("reload")).count(), expected, "{record}");
            assert_eq!(appliance.files("etc/tls").len(), 5, "{:?}", appliance.files("etc/tls"));
        }
        // A change that waits is not touched.
        upload(appliance, "leaf.pem", "leaf.key", "middle.pem");
        appliance.upload("certs.confirm", "3600\n");
        appliance.succeed("certs");
        let pair = fs::read_link(appliance.path("etc/tls/current")).unwrap();
        appliance.tend();
        assert_eq!(fs::read_link(appliance.path("etc/tls/current")).unwrap(), pair);
    });
}

#[test]
fn a_pair_that_never_came_into_force_is_swept() {
    under_each_shell(|appliance| {
        with_old_pair(appliance);
        let orphan = || appliance.write("etc/tls/pair.cutoff/appliance.key", "of a job that was cut off");
        orphan();
        appliance.recover();
        assert_eq!(appliance.files("etc/tls"), ["current", "pair.0/", "pair.0/appliance.key", "pair.0/appliance.pem"]);

        // While a change waits, the pair of before is one of those that are not in force.
        upload(appliance, "leaf.pem", "leaf.key", "middle.pem");
        appliance.upload("certs.confirm", "3600\n");
        appliance.succeed("certs");
        appliance.recover();
        assert!(appliance.exists("etc/tls/pair.0/appliance.key"));
        // While a job runs, it may be the one that is about to come into force.
        appliance.succeed("certs confirm");
        orphan();
        let guard = appliance.path("admin/lib/certs.guard");
        let recover = appliance.path("admin/bin/recover.sh");
        let held = appliance.command(Path::new("flock")).arg(guard).arg(recover).status().unwrap();
        assert!(held.success());
        assert!(appliance.exists("etc/tls/pair.cutoff/appliance.key"));
        appliance.recover();
        assert_eq!(appliance.files("etc/tls").len(), 4, "{:?}", appliance.files("etc/tls"));
    });
}

#[test]
fn files_made_at_boot_are_not_swept() {
    let appliance = machine_with_name("box.example");
    let tls = appliance.path("etc/tls");
    // Each step between the first file and the link asks whether the sweep could come in between.
    for command in ["openssl", "ln", "mv"] {
        let lock = format!("flock -n '{}' true && echo open >>'{}'", tls.display(), appliance.path("record").display());
        appliance.hook(&format!("fakes/{command}"), &format!("{lock}\nPATH=/usr/bin:/bin exec {command} \"$@\""));
    }
    assert!(make_own(&appliance, None));
    assert_eq!(appliance.record(), "");
    fs::create_dir(tls.join("pair.cutoff")).unwrap();
    appliance.recover();
    assert_eq!(appliance.files("etc/tls").len(), 5, "{:?}", appliance.files("etc/tls"));
}

/// Puts a file where the ancestor's jobs do, and runs the job that looks there.
fn serve_old(appliance: &Appliance, content: &[u8]) -> bool {
    appliance.write("etc/pki/tls/enterprise.pem", content);
    appliance.command(&appliance.path("admin/bin/jobs/old-certificate")).status().unwrap().success()
}

fn joined(names: &[&str]) -> Vec<u8> {
    names.iter().flat_map(|name| fs::read(pki().join(name)).unwrap()).collect()
}

#[test]
fn a_certificate_where_the_ancestor_kept_it_is_served_as_it_was() {
    under_each_shell(|appliance| {
        with_old_pair(appliance);
        appliance.hook("admin/bin/web-server.sh", WEB_SERVER);
        // Also one that the job "certs" would refuse: the ancestor has served it.
        for (files, expected) in [
            (&["leaf.key", "leaf.pem", "middle.pem"][..], &["leaf.pem", "middle.pem"][..]),
            (&["expired.key", "expired.pem"], &["expired.pem"]),
            (&["root.pem", "middle.pem", "leaf.pem", "leaf.key"], &["leaf.pem", "root.pem", "middle.pem"]),
            (&["bom.key", "crlf.pem"], &["leaf.pem"]),
        ] {
            appliance.write("record", "");
            assert!(serve_old(appliance, &joined(files)), "{files:?}\n{}", appliance.describe());
            check_in_force(appliance, expected);
            assert_eq!(appliance.files("etc/tls").len(), 4, "{:?}", appliance.files("etc/tls"));
            assert!(appliance.record().contains("reload"), "{files:?}");
            // Only after it has changed.
            appliance.write("record", "");
            assert!(serve_old(appliance, &joined(files)));
            assert_eq!(appliance.record(), "", "{files:?}");
        }
    });
}

#[test]
fn a_bad_certificate_of_the_ancestor_is_reported_once() {
    for (files, reason) in [
        (&["leaf.pem"][..], "The private key is a certificate: were the two files swapped?"),
        (&["leaf.key"], "The certificate is a private key: were the two files swapped?"),
        (&["other.key", "leaf.pem"], "The private key belongs to another certificate"),
        (&["encrypted.key", "leaf.pem"], "The private key is encrypted."),
        (&["leaf.key", "broken.pem"], "The certificate is damaged"),
    ] {
        let appliance = Appliance::new(Shell::Dash);
        with_old_pair(&appliance);
        assert!(!serve_old(&appliance, &joined(files)), "{files:?}");
        assert_eq!(appliance.files("etc/tls"), ["current", "pair.0/", "pair.0/appliance.key", "pair.0/appliance.pem"]);
        let log = appliance.read("admin/log/update_certs.log");
        assert!(log.contains(&format!("enterprise.pem cannot be served: {reason}")), "{files:?}: {log}");
        serve_old(&appliance, &joined(files));
        assert_eq!(appliance.read("admin/log/update_certs.log"), log, "{files:?}");
    }
}

#[test]
fn an_interrupted_look_at_the_ancestors_certificate_is_repeated() {
    for step in ["test", "reload"] {
        let appliance = Appliance::new(Shell::Dash);
        with_old_pair(&appliance);
        let kill = format!(
            "{WEB_SERVER}
             [ $1 = {step} ] && [ ! -e $here/killed ] || exit 0
             : >$here/killed; read -r job _ <$here/admin/lib/old-certificate.owner; kill -9 $job"
        );
        appliance.hook("admin/bin/web-server.sh", &kill);
        assert!(!serve_old(&appliance, &joined(&["leaf.key", "leaf.pem"])));
        appliance.write("record", "");
        assert!(serve_old(&appliance, &joined(&["leaf.key", "leaf.pem"])), "{}", appliance.describe());
        check_in_force(&appliance, &["leaf.pem"]);
        assert!(appliance.record().contains("reload pair."), "{step}: {}", appliance.record());
        appliance.recover();
        assert_eq!(appliance.files("etc/tls").len(), 4, "{step}: {:?}", appliance.files("etc/tls"));
    }
}
