//! The job `certs`: every mistake by its name, and that the old pair stays whatever happens.

use super::appliance::{Appliance, Shell, eventually, sh, under_each_shell};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A little PKI, made once: a root, an intermediate, and leaves with all that can be wrong with one.
fn pki() -> &'static Path {
    static PKI: OnceLock<PathBuf> = OnceLock::new();
    PKI.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("jidoteki-pki-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        sh(
            &directory,
            r#"
            key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
            # sign NAME ISSUER DAYS-OPTIONS EXTENSIONS
            sign() {
                name=$1; issuer=$2; shift 2
                printf "$EXT" >"$name.ext"
                openssl req -new -key "$name.key" -subj "$SUBJECT" |
                    openssl x509 -req -CA "$issuer.pem" -CAkey "$issuer.key" -extfile "$name.ext" -out "$name.pem" "$@"
            }
            export OPENSSL_CONF=/dev/null
            key root; openssl req -x509 -config /etc/ssl/openssl.cnf -key root.key -days 3650 -subj '/CN=Test Root' -out root.pem
            key middle; EXT='basicConstraints=critical,CA:TRUE\n' SUBJECT='/CN=Test Middle' sign middle root -days 3650
            EXT='subjectAltName=DNS:appliance.example,IP:192.0.2.7\n'
            SUBJECT='/CN=appliance.example'
            key leaf; sign leaf middle -days 30
            key direct; sign direct root -days 30
            key other; sign other root -days 30
            key expired; sign expired root -days -1
            key nameless; EXT='keyUsage=digitalSignature\n' SUBJECT='/O=Nobody' sign nameless root -days 30
            openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key
            sign rsa root -days 30
            openssl pkey -in rsa.key -traditional -out rsa1.key
            openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out short.key
            sign short root -days 30
            openssl pkey -in leaf.key -aes128 -passout pass:secret -out encrypted.key
            openssl rsa -in rsa1.key -traditional -aes128 -passout pass:secret -out encrypted1.key
            openssl req -x509 -config /etc/ssl/openssl.cnf -key other.key -days 30 -subj /CN=self -out self.pem
            cat middle.pem root.pem >chain.pem
            cat root.pem middle.pem >reversed.pem
            cat leaf.pem middle.pem >full.pem
            cat middle.pem leaf.pem >upside-down.pem
            sed 's/$/\r/' leaf.pem >crlf.pem
            { printf '\357\273\277'; sed 's/$/\r/' leaf.key; } >bom.key
            { printf '\357\273\277'; cat leaf.pem; } >bom.pem
            openssl x509 -in leaf.pem -outform DER -out der.pem
            sed '3s/^.\{10\}/AAAAAAAAAA/' leaf.pem >broken.pem
            sed '2s/^.\{10\}/AAAAAAAAAA/' leaf.key >broken.key
            "#,
        );
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
        ("bom.pem", "leaf.key", "middle.pem", &["leaf.pem", "middle.pem"]),
        ("rsa.pem", "rsa.key", "root.pem", &["rsa.pem", "root.pem"]),
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

#[test]
fn every_mistake_has_its_name() {
    for (public, private, ca, reason) in [
        ("leaf.pem", "encrypted.key", "", "The private key is encrypted: remove its passphrase first"),
        ("leaf.pem", "encrypted1.key", "", "The private key is encrypted: remove its passphrase first"),
        ("leaf.pem", "other.key", "middle.pem", "The private key belongs to another certificate"),
        ("leaf.key", "leaf.pem", "", "The private key is a certificate: were the two files swapped?"),
        ("leaf.key", "leaf.key", "", "The certificate is a private key: were the two files swapped?"),
        ("der.pem", "leaf.key", "", "The certificate is not PEM"),
        ("leaf.pem", "der.pem", "", "The private key is not PEM"),
        ("leaf.pem", "leaf.key", "der.pem", "The CA certificate is not PEM"),
        ("broken.pem", "leaf.key", "", "The certificate is damaged"),
        ("leaf.pem", "broken.key", "", "The private key is damaged"),
        ("leaf.pem", "leaf.key", "broken.pem", "The CA certificate is damaged"),
        ("short.pem", "short.key", "root.pem", "The private key is too short: 1024 bits, at least 2048 needed"),
        (
            "upside-down.pem",
            "leaf.key",
            "",
            "The chain is in the wrong order: the certificate of the appliance must be the first",
        ),
        (
            "leaf.pem",
            "leaf.key",
            "reversed.pem",
            "The chain is in the wrong order: each certificate must be followed by the one that issued it",
        ),
        (
            "leaf.pem",
            "leaf.key",
            "root.pem",
            "The chain is incomplete: the certificate that issued CN=appliance.example is missing",
        ),
        (
            "leaf.pem",
            "leaf.key",
            "",
            "The chain is incomplete: send the certificate of its issuer, CN=Test Middle, as ca",
        ),
        ("nameless.pem", "nameless.key", "root.pem", "The certificate has no name that could match this appliance"),
    ] {
        under_each_shell(|appliance| {
            with_old_pair(appliance);
            upload(appliance, public, private, ca);
            appliance.refuse("certs", reason);
            check_old_pair_alone(appliance);
            assert_eq!(appliance.read("admin/etc/status_error_certs.txt"), format!("{reason}\n"));
        });
    }
}

#[test]
fn dates_are_told_with_the_clock_that_judged_them() {
    under_each_shell(|appliance| {
        with_old_pair(appliance);
        upload(appliance, "expired.pem", "expired.key", "root.pem");
        let outcome = appliance.run("certs");
        assert!(outcome.stdout.starts_with("Reason: The certificate has expired: it ended 20"), "{outcome:?}");
        // An appliance without a clock wakes up in 1970, and its certificates are not yet valid.
        appliance.hook("fakes/date", "case \"$*\" in -u*) echo 19700101000000 ;; *) echo 0 ;; esac");
        upload(appliance, "leaf.pem", "leaf.key", "middle.pem");
        let outcome = appliance.run("certs");
        assert!(outcome.stdout.starts_with("Reason: The certificate is not yet valid: it begins 20"), "{outcome:?}");
        assert!(outcome.stdout.ends_with(", and the clock of this appliance says 1970-01-01\n"), "{outcome:?}");
        check_old_pair_alone(appliance);
    });
}

#[test]
fn names_that_do_not_match_are_told_and_no_more() {
    for (own, warned) in
        [("appliance.example", false), ("APPLIANCE", false), ("other.example", true), ("appliance.example.org", true)]
    {
        under_each_shell(|appliance| {
            appliance.write("etc/network.conf", format!("mode=dhcp\nhostname=\"{own}\"\n"));
            upload(appliance, "leaf.pem", "leaf.key", "middle.pem");
            appliance.succeed("certs");
            let log = appliance.read("admin/log/update_certs.log");
            let warning = "Warning: no name of the certificate matches this appliance: appliance.example 192.0.2.7";
            assert_eq!(log.contains(warning), warned, "{own}: {log}");
        });
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
fn a_web_server_that_does_not_want_the_pair_keeps_the_old_one() {
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
fn the_new_certificate_must_be_what_a_client_gets() {
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
    appliance.write("deaf", "");
    upload(&appliance, "rsa.pem", "rsa.key", "root.pem");
    appliance.refuse("certs", "The web server does not serve the new certificate");
    check_in_force(&appliance, &["leaf.pem", "middle.pem"]);
    sh(&appliance.root, "kill $(cat server)");
}

#[test]
fn a_change_is_confirmed_or_taken_back() {
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
                    "The change was not confirmed or not finished: the previous certificate is back\n"
                );
            }
        }
    });
}

#[test]
fn an_unconfirmed_certificate_is_taken_back_in_time() {
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
    eventually("it has tidied up", || !appliance.exists("admin/lib/work/certs"));
    check_old_pair_alone(&appliance);
}
