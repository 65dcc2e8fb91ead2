//! Uploads belongs to the web user, and whoever breaks into that must not become root through a job.

use super::appliance::{Appliance, Shell, eventually, is_root, must, sh, under_each_shell, wait};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Each job, what it takes first, and what it says when that is no plain file.
const TAKEN: [(&str, &str); 7] = [
    ("token", "api.token"),
    ("update", "software_package-zzz.enc"),
    ("settings dhcp", "app.json"),
    ("certs", "appliance.pem"),
    ("license", "license.asc"),
    ("storage", "storage.json"),
    ("backup RESTORE", "backup-archive.tar"),
];

#[test]
fn only_a_regular_file_with_one_link_is_read() {
    for (job, name) in TAKEN {
        for plant in [
            "ln -s ../../../../secret NAME",
            "ln -s ../../../etc/updates.key NAME",
            "ln -s nowhere NAME",
            "mkfifo NAME",
            "ln ../../../../secret NAME",
            "mkdir NAME; echo x >NAME/x",
            "mkdir NAME",
        ] {
            under_each_shell(|appliance| {
                appliance.write("secret", "the secret\n");
                sh(&appliance.path("admin/home/sftp/uploads"), &plant.replace("NAME", name));
                appliance.refuse(job, &format!("{name} is not a regular file"));
                assert_eq!(appliance.read("secret"), "the secret\n");
                assert!(!appliance.exists(&format!("admin/home/sftp/uploads/{name}")), "{job} {plant}");
                assert_eq!(appliance.files("admin/lib/work"), [""; 0], "{job} {plant}");
                assert_eq!(appliance.read("admin/etc/updates.key"), "a pass phrase of the image\n");
            });
        }
    }
}

#[test]
fn a_job_writes_through_no_planted_link() {
    for (job, name) in [("logs", "logs.tar.gz"), ("debug", "debug-bundle.tar"), ("backup START", "backup.tar")] {
        for plant in [
            "ln -s ../../../../victim NAME",
            "ln -s ../../../../victims NAME",
            "ln ../../../../victim NAME",
            "mkfifo NAME",
            "mkdir NAME",
        ] {
            under_each_shell(|appliance| {
                super::backup::with_data(appliance);
                appliance.write("victim", "untouched\n");
                appliance.write("victims/x", "");
                sh(&appliance.path("admin/home/sftp/uploads"), &plant.replace("NAME", name));
                appliance.succeed(job);
                assert_eq!(appliance.read("victim"), "untouched\n", "{job} {plant}");
                assert_eq!(appliance.files("victims"), ["x"], "{job} {plant}");
                let kind = appliance.path(&format!("admin/home/sftp/uploads/{name}")).symlink_metadata().unwrap();
                assert!(kind.is_file(), "{job} {plant}");
            });
        }
    }
}

#[test]
fn a_planted_backup_json_is_not_followed_either() {
    under_each_shell(|appliance| {
        super::backup::with_data(appliance);
        appliance.write("victim", "untouched\n");
        for name in ["backup.json", "backup.json.new", ".backup.lock.new"] {
            sh(&appliance.path("admin/home/sftp/uploads"), &format!("ln -s ../../../../victim {name}"));
        }
        appliance.succeed("backup START");
        assert_eq!(appliance.read("victim"), "untouched\n");
        assert!(appliance.read("admin/home/sftp/uploads/backup.json").contains("success"));
    });
}

#[test]
fn on_a_filesystem_of_its_own_uploads_is_no_softer() {
    if !is_root() {
        return;
    }
    under_each_shell(|appliance| {
        super::backup::with_data(appliance);
        appliance.write("victim", "untouched\n");
        let uploads = appliance.path("admin/home/sftp/uploads");
        must(Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m,mode=2770", "tmpfs"]).arg(&uploads));
        let victim = appliance.path("victim");
        let test = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for name in ["backup.tar", "backup.json"] {
                std::os::unix::fs::symlink(&victim, uploads.join(name)).unwrap();
            }
            // A killed job may have left a directory; a stranger's is none of ours.
            fs::create_dir(uploads.join(".backup.dead")).unwrap();
            appliance.succeed("backup START");
            assert_eq!(appliance.read("victim"), "untouched\n");
            super::backup::upload_own_archive(appliance);
            appliance.write("data/conf", "changed");
            appliance.succeed("backup RESTORE");
            assert_eq!(appliance.read("data/conf"), "conf of before\n");
            std::os::unix::fs::symlink(&victim, uploads.join("api.token")).unwrap();
            appliance.refuse("token", "api.token is not a regular file");
            appliance.upload("api.token", "new\n");
            appliance.succeed("token");
            assert_eq!(
                appliance.files("admin/home/sftp/uploads"),
                [".backup.lock", ".token.lock", "backup.json", "backup.tar"]
            );
        }));
        must(Command::new("umount").arg(&uploads));
        if let Err(panic) = test {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_file_that_changes_while_the_job_looks_is_judged_as_it_was_taken() {
    // The web user keeps the archive open for writing and changes it after it was judged.
    let appliance = Appliance::new(Shell::Dash);
    super::backup::with_data(&appliance);
    appliance.succeed("backup START");
    super::backup::upload_own_archive(&appliance);
    let mut open =
        fs::OpenOptions::new().write(true).open(appliance.path("admin/home/sftp/uploads/backup-archive.tar")).unwrap();
    // The executable stands still before it looks at the archive, until the file was overwritten. What it reads then is
    // judged: the damage is told, and nothing has changed.
    let program = env!("CARGO_BIN_EXE_jidoteki-admin-jobs");
    fs::remove_file(appliance.path("fakes/jidoteki-admin-jobs")).unwrap();
    appliance.hook(
        "fakes/jidoteki-admin-jobs",
        &format!(
            "here=${{0%/*}}; if [ \"$1 $2\" = \"archive restore\" ]; then mkdir \"$here/../looked\"; \
             while [ ! -e \"$here/../go-on\" ]; do sleep 0.02; done; fi; exec {program} \"$@\""
        ),
    );
    appliance.write("data/conf", "changed");
    let job = appliance.start("backup RESTORE");
    eventually("the job looks", || appliance.exists("looked"));
    std::io::Write::write_all(&mut open, &vec![b'X'; 100_000]).unwrap();
    appliance.write("go-on", "");
    let outcome = wait(job, "backup RESTORE");
    assert_ne!(outcome.code, Some(0), "{outcome:?}\n{}", appliance.describe());
    assert_eq!(appliance.read("data/conf"), "changed");
}

#[test]
fn a_job_takes_a_copy() {
    let library = fs::read_to_string("cgi-bin/lib/job.sh").unwrap();
    let function = |name: &str| {
        let start = library.find(&format!("\n{name}() {{\n")).expect(name);
        &library[start..start + library[start..].find("\n}\n").unwrap() + 3]
    };
    let script = format!(
        "fail() {{ echo \"$2\"; exit 1; }}\n{}{}
        UPLOADS=uploads WORK=work STATE=state; mkdir uploads work state
        echo good >uploads/x; exec 9>>uploads/x; take x 100; echo evil >&9; cat work/x; ls work uploads",
        function("take"),
        function("seize")
    );
    under_each_shell(|appliance| {
        assert_eq!(sh(&appliance.path(""), &script), "good\nuploads:\n\nwork:\nx\n");
    });
}

/// A name in a directory that everybody can write, and that somebody else can take first.
#[test]
fn no_job_works_below_a_fixed_name_that_others_can_take() {
    let files = sh(Path::new("."), "find cgi-bin -type f");
    let mut n_files = 0;
    for file in files.lines() {
        n_files += 1;
        for line in fs::read_to_string(file).unwrap().lines() {
            let code = line.trim_start();
            let is_fixed = ["/tmp", "/var/tmp", "/dev/shm", "TMPDIR"].iter().any(|place| code.contains(place));
            assert!(!is_fixed || code.starts_with('#') || code.contains("mktemp"), "{file}: {line}");
        }
    }
    assert!(n_files > 15, "the scripts are where they were: {files}");
}

#[test]
fn the_web_user_sees_nothing_of_root_and_cannot_become_it() {
    if !is_root() {
        return;
    }
    let appliance = Appliance::new(Shell::Dash);
    super::backup::with_data(&appliance);
    sh(
        &appliance.root,
        "chmod 755 .; chgrp -R 65534 admin/etc admin/log admin/home; chmod 2750 admin/etc admin/log; chmod 2770 admin/home/sftp/uploads
         chown 0:0 admin/etc/updates.key; chmod 600 admin/etc/updates.key",
    );
    appliance.upload("api.token", "canary-token\n");
    appliance.succeed("token");
    appliance.succeed("backup START");
    let attacks = "
        cat admin/etc/updates.key && exit 1
        ls admin/lib && exit 2
        true >admin/etc/backup.txt && exit 3
        true >admin/etc/new && exit 4
        rm -f admin/etc/health.json admin/etc/status_settings.txt; echo x >>admin/log/update_token.log && exit 5
        mv admin/etc/api.token x && exit 6
        true >admin/bin/jobs/token && exit 7
        kill -9 1 && exit 8
        cat admin/etc/api.token >/dev/null || exit 9
        cat admin/home/sftp/uploads/backup.tar >/dev/null || exit 10
        exit 0";
    let output = Command::new("/usr/bin/setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh", "-c", attacks])
        .current_dir(&appliance.root)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Pieces of what somebody puts into the exchange directory who wants root to run something.
const NASTY: [&str; 40] = [
    "mode=dhcp",
    "mode=static",
    "interface=eth0",
    "router=",
    "ip=",
    "hostname=",
    "ntpserver=",
    "dns=",
    "type=",
    "password=",
    "\n",
    "\t",
    " ",
    "\"",
    "'",
    "\\",
    "`id >ROOTED`",
    "$(id >ROOTED)",
    ";id >ROOTED\n",
    "\"\tup id >ROOTED\"",
    "\n\tpost-up id >ROOTED\n",
    "\niface eth1 inet manual\n",
    "\n[Match]\nName=*\n",
    "\\u0000",
    "\\u000aup id",
    "\0",
    "\u{feff}",
    "{",
    "}",
    "[",
    ":",
    ",",
    "\"interface\":\"eth0\"",
    "\"hostname\":\"a.b\"",
    "\"gateway\":\"\\tup id >ROOTED\"",
    "\"type\":\"iscsi\"",
    "192.0.2.1",
    "1e999",
    "\"storage\":{",
    "\"x\":\"$(id >ROOTED)\"",
];

#[test]
fn root_gets_parsed_values_only_from_any_file_in_uploads() {
    let mut seed = 7_u64;
    let mut random = move |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % n
    };
    let appliance = Appliance::new(Shell::Dash);
    super::storage::old_settings(&appliance);
    // What root's programs do with these files: a shell sources them.
    let source = |name: &str| format!("cd \"$JIDO_ETC_PATH\"; set -f; . ./{name}");
    appliance.hook("admin/bin/network.sh", &source("network.conf"));
    appliance.hook("admin/bin/storage.sh", &source("storage.conf"));
    for round in 0..60 {
        let mut nasty = || -> String { (0..=random(12)).map(|_| NASTY[random(NASTY.len())]).collect() };
        let texts = [(); 6].map(|()| nasty());
        // In half of all rounds the JSON is good, and the rest must be seen to do no harm.
        let is_good = round % 2 == 0;
        let network = if is_good { super::settings::DHCP_JSON.to_owned() } else { texts[0].clone() };
        let storage = if is_good {
            r#"{"storage":{"type":"iscsi","target":"iqn.x","ip":"192.0.2.1","username":"$(id>ROOTED)","password":"`id>ROOTED`\"';"}}"#.to_owned()
        } else {
            texts[1].clone()
        };
        for (name, text) in [
            ("network.json", &network),
            ("app.json", if is_good { &texts[2] } else { &texts[3] }),
            ("network.conf", &texts[4]),
            ("storage.json", &storage),
            ("storage.conf", &texts[5]),
        ] {
            appliance.upload(name, text);
        }
        let outcomes = [appliance.run("settings dhcp"), appliance.run("storage")];
        let story = format!("{texts:?}: {outcomes:?}");
        assert!(!appliance.exists("etc/ROOTED") && !appliance.exists("ROOTED"), "{story}");
        for (name, pattern) in [
            ("etc/network.conf", "mode=dhcp\ninterface=eth0\nhostname=\"new.host\"\nntpserver=\"\"\n"),
            ("etc/storage.conf", "type=\"local\"\n"),
        ] {
            let is_derived = match appliance.maybe(name) {
                None => true,
                Some(text) if name.ends_with("storage.conf") => {
                    text == pattern
                        || text.contains("\nusername=\"\\$(id>ROOTED)\"\npassword=\"\\`id>ROOTED\\`\\\"';\"\n")
                }
                Some(text) => text == pattern,
            };
            assert!(is_derived, "{name}: {:?}\n{story}", appliance.maybe(name));
        }
        if let Some(app) = appliance.maybe("admin/etc/app.json") {
            assert!(serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&app).is_ok(), "{app}\n{story}");
        }
    }
}
