//! The job `backup`: START, STOP, RESTORE and UNDO.

use super::appliance::{Appliance, Shell, eventually, is_root, must, sh, under_each_shell, wait};
use std::fs;
use std::path::Path;
use std::process::Command;

const ARCHIVE: &str = "admin/home/sftp/uploads/backup.tar";

/// Data with awkward names, an empty directory, a link and a file of zeros, and a list that names it.
pub fn with_data(appliance: &Appliance) {
    appliance.write("data/app/plain", "of before\n");
    appliance.write("data/app/a b/-c\\d", "awkward\n");
    appliance.write("data/app/zeros", vec![0; 20_000]);
    appliance.write("data/conf", "conf of before\n");
    sh(&appliance.path("data/app"), "mkdir empty; ln -s plain link; chmod 640 plain; chmod 2750 empty; ln plain hard");
    appliance.write("admin/etc/backup.txt", format!("{0}/app\n{0}/conf\n", appliance.path("data").display()));
}

/// All of the data, as text: names, kinds, modes and contents.
pub fn data(appliance: &Appliance) -> String {
    sh(
        &appliance.path("data"),
        "find . ! -name . | sort | while IFS= read -r f; do
             stat -c '%N %F %a' \"$f\"; [ ! -f \"$f\" ] || sha256sum <\"$f\"; done",
    )
}

/// The archive of START becomes the upload of RESTORE.
pub fn upload_own_archive(appliance: &Appliance) {
    appliance.upload("backup-archive.tar", fs::read(appliance.path(ARCHIVE)).unwrap());
}

fn change_data(appliance: &Appliance) {
    appliance.write("data/app/plain", "of after\n");
    appliance.write("data/app/more", "new\n");
    appliance.write("data/conf", "conf of after\n");
    fs::remove_file(appliance.path("data/app/zeros")).unwrap();
}

#[test]
fn a_backup_is_an_archive_with_its_size_and_sum() {
    under_each_shell(|appliance| {
        with_data(appliance);
        appliance.succeed("backup START");
        let json: serde_json::Value =
            serde_json::from_str(&appliance.read("admin/home/sftp/uploads/backup.json")).unwrap();
        let bytes = fs::metadata(appliance.path(ARCHIVE)).unwrap().len();
        let sum = sh(&appliance.root, &format!("sha256sum <{ARCHIVE} | cut -d ' ' -f 1"));
        let size = format!("{}.{}K", bytes / 1024, (bytes % 1024 * 10 + 512) / 1024);
        assert_eq!(json, serde_json::json!({"status": "success", "filesize": size, "sha256": sum.trim()}));
        assert_eq!(appliance.mode(ARCHIVE), 0o640);
        assert_eq!(appliance.mode("admin/home/sftp/uploads/backup.json"), 0o640);
        let log = appliance.read("admin/log/update_backup.log");
        assert!(log.contains(&format!("Created file: backup.tar - size: {size} - hash: {}", sum.trim())), "{log}");
        let names = sh(&appliance.root, &format!("tar -tf {ARCHIVE} | sed -n '$p'"));
        assert_eq!(names, ".jidoteki-manifest\n");
        assert_eq!(appliance.files("admin/lib"), ["restore.guard", "work.guard", "work/"]);
    });
}

#[test]
fn a_restore_brings_everything_back_and_can_be_undone() {
    under_each_shell(|appliance| {
        with_data(appliance);
        let before = data(appliance);
        appliance.succeed("backup START");
        change_data(appliance);
        let after = data(appliance);
        upload_own_archive(appliance);
        appliance.succeed("backup RESTORE");
        let restored = data(appliance);
        assert_eq!(without_stage(&restored), before, "{}", appliance.describe());
        appliance.succeed("backup UNDO");
        assert_eq!(data(appliance), after);
        appliance.refuse("backup UNDO", "There is no restore to roll back");
        assert_eq!(appliance.files("admin/lib"), ["restore.guard", "work.guard", "work/"]);
    });
}

/// What is kept for UNDO lies beside the data, and is not data.
fn without_stage(data: &str) -> String {
    let mut text = String::new();
    let mut is_stage = false;
    for line in data.lines() {
        if line.starts_with('\'') || line.starts_with('"') {
            is_stage = line[1..].starts_with("./.jidoteki-restore");
        }
        if !is_stage {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[test]
fn files_saved_for_undo_are_private() {
    let appliance = Appliance::new(Shell::Dash);
    with_data(&appliance);
    appliance.succeed("backup START");
    upload_own_archive(&appliance);
    appliance.succeed("backup RESTORE");
    assert_eq!(appliance.mode("data/.jidoteki-restore"), 0o700);
}

#[test]
fn a_second_restore_replaces_the_files_saved_for_undo() {
    under_each_shell(|appliance| {
        with_data(appliance);
        appliance.succeed("backup START");
        for text in ["first", "second"] {
            appliance.write("data/conf", text);
            upload_own_archive(appliance);
            appliance.succeed("backup RESTORE");
            assert_eq!(appliance.read("data/conf"), "conf of before\n");
        }
        appliance.succeed("backup UNDO");
        assert_eq!(appliance.read("data/conf"), "second");
        assert!(!appliance.exists("data/.jidoteki-restore"));
    });
}

/// `chattr +a` for logs, `+i` for what nobody should change.
#[test]
fn files_that_cannot_be_changed_do_not_block_the_next_restore() {
    under_each_shell(|appliance| {
        with_data(appliance);
        appliance.succeed("backup START");
        for n_restore in 0..3 {
            sh(&appliance.path("data/app"), "echo x >log; mkdir -p kept/deep; echo x >kept/deep/file");
            let flags = "chattr +a log && chattr +i kept/deep/file && chattr +i kept/deep && chattr +a kept";
            if Command::new("sh")
                .arg("-c")
                .arg(flags)
                .current_dir(appliance.path("data/app"))
                .status()
                .unwrap()
                .success()
            {
                upload_own_archive(appliance);
                appliance.succeed("backup RESTORE");
                assert!(!appliance.exists("data/app/log"), "restore {n_restore}");
            } else {
                assert!(!is_root(), "this filesystem has no flags");
            }
        }
        appliance.succeed("backup UNDO");
        appliance.succeed("backup START");
        sh(&appliance.path("data"), "chattr -R -f -i -a . || :");
    });
}

#[test]
fn a_refused_archive_does_not_cost_the_undo_of_the_last_restore() {
    under_each_shell(|appliance| {
        with_data(appliance);
        appliance.succeed("backup START");
        appliance.write("data/conf", "changed");
        upload_own_archive(appliance);
        appliance.succeed("backup RESTORE");
        appliance.upload("backup-archive.tar", "garbage");
        appliance.refuse("backup RESTORE", "The archive is not a tar file");
        appliance.succeed("backup UNDO");
        assert_eq!(appliance.read("data/conf"), "changed");
    });
}

#[test]
fn a_mount_point_is_restored_by_its_content() {
    if !is_root() {
        return;
    }
    under_each_shell(|appliance| {
        must(Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(appliance.path("data")));
        appliance.write("data/one", "1");
        appliance.write("data/.two/x", "2");
        appliance.write("admin/etc/backup.txt", format!("{}\n", appliance.path("data").display()));
        appliance.succeed("backup START");
        appliance.write("data/one", "changed");
        appliance.write("data/three", "3");
        upload_own_archive(appliance);
        let outcome = appliance.run("backup RESTORE");
        let files = appliance.files("data");
        let one = appliance.maybe("data/one");
        let undone = appliance.run("backup UNDO");
        let files_undone = appliance.files("data");
        must(Command::new("umount").arg(appliance.path("data")));
        assert_eq!((outcome.code, undone.code), (Some(0), Some(0)), "{}", appliance.describe());
        let data: Vec<_> = files.iter().filter(|name| !name.starts_with(".jidoteki-restore")).collect();
        assert_eq!(data, [".two/", ".two/x", "one"]);
        assert_eq!(one.as_deref(), Some("1"));
        assert_eq!(files_undone, [".two/", ".two/x", "one", "three"]);
    });
}

/// Another disk below a listed path, be it by a mount of its own or by one of a directory of the same filesystem.
#[test]
fn a_mount_below_a_listed_path_stays_mounted_with_its_files() {
    if !is_root() {
        return;
    }
    for (kind, what) in [(["-t", "tmpfs"], "tmpfs"), (["--bind", "--"], "disk two")] {
        under_each_shell(|appliance| {
            with_data(appliance);
            appliance.write("disk two/x", "");
            fs::create_dir(appliance.path("data/app/the media")).unwrap();
            let mount_point = appliance.path("data/app/the media");
            must(Command::new("mount").args(kind).arg(what).arg(&mount_point).current_dir(&appliance.root));
            appliance.write("data/app/the media/movie", "of before");
            appliance.succeed("backup START");
            appliance.write("data/app/the media/newer", "of after");
            let seen: Vec<_> = (0..3)
                .map(|_| {
                    upload_own_archive(appliance);
                    appliance.run("backup RESTORE");
                    let is_mounted = Command::new("mountpoint").arg("-q").arg(&mount_point).status().unwrap().success();
                    (
                        is_mounted,
                        appliance.maybe("data/app/the media/movie"),
                        appliance.maybe("data/app/the media/newer"),
                    )
                })
                .collect();
            // Wherever it is now.
            while let Some(place) = mounted_below(&appliance.root) {
                must(Command::new("umount").arg(place));
            }
            let right = (true, Some("of before".to_owned()), Some("of after".to_owned()));
            assert_eq!(seen, [right.clone(), right.clone(), right], "{kind:?} {}", appliance.describe());
        });
    }
}

fn mounted_below(root: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut places = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(|place| place.replace("\\040", " "));
    places.rfind(|place| Path::new(place).starts_with(root))
}

#[test]
fn an_archive_of_the_ancestor_has_no_manifest_and_works() {
    under_each_shell(|appliance| {
        with_data(appliance);
        let before = data(appliance);
        let members = format!("{0}/app {0}/conf", appliance.path("data").display())
            .replace(" /", " ")
            .trim_start_matches('/')
            .to_owned();
        sh(&appliance.root, &format!("tar -C / -cpf admin/home/sftp/uploads/backup-archive.tar {members}"));
        change_data(appliance);
        appliance.succeed("backup RESTORE");
        assert_eq!(without_stage(&data(appliance)), before);
        assert!(appliance.read("admin/log/update_backup.log").contains("The archive has no manifest"));
    });
}

/// Makes an archive by a shell script in a directory of its own; `$DATA` is where the data is, without
/// the leading slash.
fn evil(appliance: &Appliance, script: &str) {
    let place = appliance.path("evil");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).unwrap();
    let data = appliance.path("data").display().to_string();
    sh(
        &place,
        &format!(
            "DATA={}; TAR=\"$PWD/../admin/home/sftp/uploads/backup-archive.tar\"; mkdir -p \"$DATA/app\"; echo evil >\"$DATA/conf\"
             {script}",
            data.trim_start_matches('/')
        ),
    );
}

#[test]
fn an_evil_archive_is_refused_and_nothing_is_touched() {
    for (script, reason) in [
        (
            "tar -cPf $TAR $DATA/conf --transform 's,^,/,'",
            "The archive was refused: a member has an absolute path or one with ..",
        ),
        (
            "tar -cPf $TAR $DATA/conf --transform 's,data/conf,data/../../../x,'",
            "The archive was refused: a member has an absolute path or one with ..",
        ),
        (
            "ln -s conf $DATA/app/l; tar -cf $TAR $DATA/app/l; rm $DATA/app/l; mkdir $DATA/app/l; echo x >$DATA/app/l/passwd; tar -rf $TAR $DATA/app/l/passwd",
            "The archive was refused: a member is below a link",
        ),
        (
            "echo x >$DATA/app/s; chmod 4755 $DATA/app/s; tar -cf $TAR $DATA",
            "The archive was refused: a member is setuid",
        ),
        (
            "echo x >$DATA/app/s; chmod 2755 $DATA/app/s; tar -cf $TAR $DATA",
            "The archive was refused: a member is setgid",
        ),
        (
            "rm $DATA/conf; echo x >$DATA/app/a; ln $DATA/app/a $DATA/app/b; tar -cf $TAR $DATA/app/b $DATA/app/a; tar --delete -f $TAR $DATA/app/b",
            "The archive was refused: a hard link leads to a file that is not in the archive",
        ),
        (
            "mkdir -p etc; echo x >etc/passwd; tar -cf $TAR $DATA etc",
            "The archive has files that are not in the backup list",
        ),
        ("echo x >${DATA}x; tar -cf $TAR ${DATA}x", "The archive has files that are not in the backup list"),
        ("tar -czf $TAR $DATA", "The archive is not a tar file"),
        ("echo text >$TAR", "The archive is not a tar file"),
        (": >$TAR", "The archive is not a tar file"),
        ("tar -cf x $DATA; head -c 1700 x >$TAR", "The archive is damaged"),
        ("tar -cf $TAR --files-from /dev/null", "The archive is not a tar file"),
        (
            "echo 0 >.jidoteki-manifest; tar -cf $TAR $DATA .jidoteki-manifest",
            "The archive is damaged: its content does not match its manifest",
        ),
    ] {
        under_each_shell(|appliance| {
            with_data(appliance);
            let before = data(appliance);
            evil(appliance, script);
            let outcome = appliance.run("backup RESTORE");
            assert_eq!(
                outcome.stdout,
                format!("Reason: {reason}\n"),
                "{script} {:?}\n{}",
                appliance.shell,
                appliance.describe()
            );
            assert_eq!(data(appliance), before, "{script}");
            assert!(!appliance.exists("admin/home/sftp/uploads/backup-archive.tar"));
        });
    }
}

/// Links are data: kept wherever they lead, never followed, never written through.
#[test]
fn the_content_of_an_archive_is_data_and_stays_below_the_target() {
    under_each_shell(|appliance| {
        for (script, look, expected) in [
            ("ln -s ../../etc $DATA/app/out; tar -cf $TAR $DATA", "readlink data/app/out", "../../etc\n"),
            ("ln -s /nowhere/x $DATA/app/out; tar -cf $TAR $DATA", "readlink data/app/out", "/nowhere/x\n"),
            (
                "ln -s ../../victim $DATA/app/l; tar -cf $TAR $DATA/app/l; rm $DATA/app/l; echo x >$DATA/app/l; tar -rf $TAR $DATA/app/l",
                "cat data/app/l victim",
                "x\nvictim\n",
            ),
            ("mkfifo $DATA/app/pipe; echo x >$DATA/app/f; tar -cf $TAR $DATA", "ls data/app", "f\n"),
            (
                "f=\"$(printf '%s/app/a\\nb' \"$DATA\")\"; echo x >\"$f\"; tar -cf $TAR $DATA",
                "ls -b data/app",
                "a\\nb\n",
            ),
        ] {
            appliance.write("victim", "victim\n");
            with_data(appliance);
            evil(appliance, script);
            appliance.succeed("backup RESTORE");
            assert_eq!(sh(&appliance.root, look), expected, "{script}\n{}", appliance.describe());
        }
    });
}

/// Archives as programs write them, each with a long name, a sparse file and a large number.
#[test]
fn archives_of_every_form_come_back() {
    let name = "n".repeat(180);
    for form in [
        "--format=gnu",
        "--format=gnu -S",
        "--format=pax",
        "--format=pax -S",
        "--format=pax -S --sparse-version=0.0",
        "--format=pax -S --sparse-version=0.1",
        "--format=oldgnu -S",
    ] {
        let appliance = Appliance::new(Shell::Dash);
        with_data(&appliance);
        let script = "mkdir $DATA/app/NAME; echo deep >$DATA/app/NAME/f; truncate -s 3M $DATA/app/holes
             for i in 1 9 90 400 401 700; do printf x | dd of=$DATA/app/holes bs=4096 seek=$i conv=notrunc 2>/dev/null; done
             sha256sum <$DATA/app/holes >sum; ln -s $DATA/app/NAME/NAME $DATA/app/long; echo x >$DATA/app/f
             touch -d @1234567890.5 $DATA/app/f; tar FORM --owner=3000000 --group=5 --numeric-owner -cf $TAR $DATA";
        evil(&appliance, &script.replace("NAME", &name).replace("FORM", form));
        appliance.succeed("backup RESTORE");
        let sum = sh(&appliance.path("data/app"), "sha256sum <holes; cat */f; stat -c %Y f");
        assert_eq!(sum, appliance.read("evil/sum") + "deep\n1234567890\n", "{form}");
        let link = fs::read_link(appliance.path("data/app/long")).unwrap();
        assert!(link.to_string_lossy().ends_with(&format!("{name}/{name}")), "{form}: {link:?}");
        if is_root() {
            assert_eq!(sh(&appliance.path("data/app"), "stat -c %u:%g f"), "3000000:5\n", "{form}");
        }
        if form.contains("-S") {
            let kib: u64 = sh(&appliance.path("data/app"), "du -k holes | cut -f 1").trim().parse().unwrap();
            assert!(kib < 100, "{form}: {kib} KiB");
        }
    }
}

/// GNU tar and libarchive write lists of access as text.
#[test]
fn lists_of_access_as_text_come_back() {
    let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xd2\x04\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
    for (account, expected) in [("1234", Some(&acl[..])), ("no such account", None)] {
        let appliance = Appliance::new(Shell::Dash);
        with_data(&appliance);
        let text = format!("user::rw-\\nuser:{account}:r--\\t#effective:r--\\ngroup::r--\\nmask::r--\\nother::---");
        let option = format!("--format=pax --pax-option=\"SCHILY.acl.access:=$(printf '{text}')\"");
        evil(&appliance, &format!("echo x >$DATA/app/f; tar {option} -cf $TAR $DATA/app/f"));
        appliance.succeed("backup RESTORE");
        let mut value = vec![0; 256];
        let length = rustix::fs::lgetxattr(appliance.path("data/app/f"), "system.posix_acl_access", &mut value[..]);
        assert_eq!(length.ok().map(|length| &value[..length]), expected, "{account}");
        let log = appliance.read("admin/log/update_backup.log");
        assert_eq!(log.contains("Left out: the attribute SCHILY.acl.access"), expected.is_none(), "{log}");
    }
}

#[test]
fn a_backup_and_a_restore_say_how_far_they_are() {
    let appliance = Appliance::new(Shell::Dash);
    with_data(&appliance);
    let [archive, progress] = ["archive.tar", "progress"].map(|name| appliance.path(name));
    let run = |word: &str| {
        let mut command = appliance.command(Path::new(env!("CARGO_BIN_EXE_jidoteki-admin-jobs")));
        must(command.args(["archive", word]).arg(&archive).env("JIDO_PROGRESS", &progress));
    };
    run("pack");
    assert!(!progress.exists(), "nobody would remove what the job has not made");
    fs::remove_file(&archive).unwrap();
    appliance.write("progress", "");
    for (word, last) in [("pack", "checking"), ("restore", "writing to disk")] {
        run(word);
        let line = appliance.read("progress");
        assert_eq!((line.len(), line.ends_with(" \n")), (64, true), "{line:?}");
        let (numbers, words) = line.trim_end().split_once(' ').unwrap();
        let (done, total) = numbers.split_once('/').unwrap();
        let (done, total): (u64, u64) = (done.parse().unwrap(), total.parse().unwrap());
        assert_eq!(words, last);
        assert!(done < total && done >= total / 2, "{line}");
    }
}

/// The archive of START is that of 2.0.0: each file with its sum in a manifest, and a mark before that.
#[test]
fn an_archive_of_2_0_0_comes_back_and_its_manifest_counts() {
    for is_whole in [true, false] {
        let appliance = Appliance::new(Shell::Dash);
        with_data(&appliance);
        let before = data(&appliance);
        let sum = if is_whole { "$(sha256sum | cut -d ' ' -f 1)" } else { "$(wc -c >/dev/null)00" };
        appliance.hook("line", &format!("printf '%s %s %s\\n' \"{sum}\" \"$TAR_SIZE\" \"$TAR_FILENAME\""));
        sh(
            &appliance.root,
            "D=$PWD; D=${D#/}; mkdir mark; echo 'jidoteki-admin-api backup 1' >mark/.jidoteki-backup
             tar -C / --numeric-owner -cf a.tar $D/data/app $D/data/conf $D/mark/.jidoteki-backup
             tar -xf a.tar --to-command $PWD/line | grep -v /.jidoteki-backup >mark/.jidoteki-manifest
             tar -rf a.tar -C mark .jidoteki-manifest; cp a.tar admin/home/sftp/uploads/backup-archive.tar",
        );
        change_data(&appliance);
        if is_whole {
            appliance.succeed("backup RESTORE");
            assert_eq!(without_stage(&data(&appliance)), before);
            assert!(!appliance.read("admin/log/update_backup.log").contains("no manifest"));
        } else {
            appliance.refuse("backup RESTORE", "The archive is damaged: its content does not match its manifest");
        }
    }
}

#[test]
fn a_device_in_an_archive_is_refused() {
    if !is_root() {
        return;
    }
    under_each_shell(|appliance| {
        with_data(appliance);
        evil(appliance, "mknod $DATA/app/null c 1 3; tar -cf $TAR $DATA");
        appliance.refuse(
            "backup RESTORE",
            "The archive was refused: a member is a device or something else that is not a file",
        );
    });
}

#[test]
fn a_changed_byte_in_our_own_archive_is_found() {
    under_each_shell(|appliance| {
        with_data(appliance);
        appliance.succeed("backup START");
        let mut archive = fs::read(appliance.path(ARCHIVE)).unwrap();
        let at = archive.windows(9).position(|bytes| bytes == b"of before").unwrap();
        archive[at] = b'O';
        appliance.upload("backup-archive.tar", archive);
        let before = data(appliance);
        appliance.refuse("backup RESTORE", "The archive is damaged: its content does not match its manifest");
        assert_eq!(data(appliance), before);
    });
}

#[test]
fn an_archive_that_does_not_fit_is_refused_before_anything_is_touched() {
    if !is_root() {
        return;
    }
    under_each_shell(|appliance| {
        must(Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(appliance.path("data")));
        appliance.write("data/app/x", "old");
        appliance.write("admin/etc/backup.txt", format!("{}/app\n", appliance.path("data").display()));
        evil(appliance, "head -c 5000000 /dev/zero >$DATA/app/x; rm $DATA/conf; tar -cf $TAR $DATA/app");
        let outcome = appliance.run("backup RESTORE");
        let files = appliance.files("data");
        must(Command::new("umount").arg(appliance.path("data")));
        assert!(
            outcome.stdout.starts_with("Reason: Not enough free space: 48"),
            "{outcome:?}\n{}",
            appliance.describe()
        );
        assert_eq!(files, ["app/", "app/x"]);
    });
}

#[test]
fn nothing_to_back_up_or_to_restore_is_an_error() {
    under_each_shell(|appliance| {
        appliance.refuse("backup START", "There is no backup list");
        assert_eq!(appliance.read("admin/home/sftp/uploads/backup.json"), "{\"status\":\"failed\"}\n");
        appliance.write("admin/etc/backup.txt", "/nowhere/at/all\nrelative\n/etc/../etc\n");
        appliance.refuse("backup START", "Nothing to back up: nothing in the backup list exists");
        appliance.refuse("backup RESTORE", "Missing backup archive");
        appliance.chmod("admin/etc/backup.txt", 0o666);
        appliance.refuse("backup START", "Users other than root can change the backup list");
    });
}

#[test]
fn stop_ends_a_backup_that_runs_and_deletes_it() {
    under_each_shell(|appliance| {
        with_data(appliance);
        // A walk that does not come to an end.
        stand_in(appliance, "pack", "echo >\"${0%/*}/../pack-runs\"; exec sleep 1000");
        let job = appliance.start("backup START");
        eventually("it packs", || appliance.exists("pack-runs"));
        assert_eq!(appliance.read("admin/home/sftp/uploads/backup.json"), "{\"status\":\"running\"}\n");
        appliance.succeed("backup STOP");
        let outcome = wait(job, "backup START");
        assert_ne!(outcome.code, Some(0));
        assert!(!appliance.exists("admin/home/sftp/uploads/backup.json"), "{}", appliance.describe());
        assert!(!appliance.exists(ARCHIVE));
        stand_in(appliance, "nothing", "");
        appliance.succeed("backup START");
        appliance.succeed("backup STOP");
        assert!(!appliance.exists("admin/home/sftp/uploads/backup.json"));
        assert!(!appliance.exists(ARCHIVE));
        assert_eq!(appliance.files("admin/lib"), ["restore.guard", "work.guard", "work/"]);
    });
}

#[test]
fn stop_leaves_a_restore_alone() {
    let appliance = Appliance::new(Shell::Dash);
    with_data(&appliance);
    appliance.succeed("backup START");
    upload_own_archive(&appliance);
    let wait_for_it = "echo >\"${0%/*}/../restore-runs\"; while [ ! -e \"${0%/*}/../go-on\" ]; do sleep 0.05; done";
    stand_in(&appliance, "restore", wait_for_it);
    let job = appliance.start("backup RESTORE");
    eventually("the restore is at work", || appliance.exists("restore-runs"));
    appliance.succeed("backup STOP");
    appliance.write("go-on", "");
    assert_eq!(wait(job, "backup RESTORE").code, Some(0), "{}", appliance.describe());
}

/// The executable, behind a script that does something before one word of `archive`.
fn stand_in(appliance: &Appliance, word: &str, script: &str) {
    let path = appliance.path("fakes/jidoteki-admin-jobs");
    fs::remove_file(&path).unwrap();
    let real = env!("CARGO_BIN_EXE_jidoteki-admin-jobs");
    let script = format!("if [ \"$1 $2\" = 'archive {word}' ]; then\n:; {script}\nfi\nexec {real} \"$@\"");
    appliance.hook("fakes/jidoteki-admin-jobs", &script);
}

#[test]
fn a_failed_start_names_the_file_and_keeps_the_previous_backup() {
    under_each_shell(|appliance| {
        with_data(appliance);
        appliance.succeed("backup START");
        let good = fs::read(appliance.path(ARCHIVE)).unwrap();
        appliance.write("data/app/tool \n x", "");
        appliance.chmod("data/app/tool \n x", 0o4755);
        appliance.refuse("backup START", "The data has devices or setuid files, which are not backed up");
        let log = appliance.read("admin/log/update_backup.log");
        assert!(log.contains("data/app/tool ? x: setuid\n"), "{log}");
        assert_eq!(fs::read(appliance.path(ARCHIVE)).unwrap(), good);
        assert_eq!(appliance.read("admin/home/sftp/uploads/backup.json"), "{\"status\":\"failed\"}\n");
        appliance.chmod("data/app/tool \n x", 0o2644);
        appliance.succeed("backup START");
    });
}

/// An update comes between a restore by 2.0.0 and its UNDO, or its end.
#[test]
fn an_undo_restores_files_saved_by_2_0_0() {
    for table in ["restore.undo", "restore.journal"] {
        let appliance = Appliance::new(Shell::Dash);
        appliance.write("data/one", "restored");
        appliance.write("data/.jidoteki-restore/old/1", "of before");
        appliance.write("data/.jidoteki-restore/old/2", "of before, and not in the archive");
        sh(&appliance.path("data/.jidoteki-restore"), "mkdir new unpacked; chmod 700 .");
        let data = appliance.path("data").display().to_string();
        appliance.write("admin/lib/restore.stages", format!("{data}/.jidoteki-restore\n"));
        appliance.write(
            &format!("admin/lib/{table}"),
            format!("1\tnew\t{data}/.jidoteki-restore\t{data}/one\n2\tgone\t{data}/.jidoteki-restore\t{data}/two\n"),
        );
        if table == "restore.undo" {
            appliance.succeed("backup UNDO");
        } else {
            appliance.recover();
        }
        assert_eq!(appliance.files("data"), ["one", "two"], "{}", appliance.describe());
        assert_eq!(appliance.read("data/one"), "of before");
    }
}

#[test]
fn pipes_and_sockets_are_left_out_and_reported() {
    under_each_shell(|appliance| {
        with_data(appliance);
        sh(&appliance.path("data/app"), "mkfifo nagios.cmd");
        let _socket = std::os::unix::net::UnixListener::bind(appliance.path("data/app/socket")).unwrap();
        appliance.succeed("backup START");
        let log = appliance.read("admin/log/update_backup.log");
        assert!(log.contains("data/app/nagios.cmd: a pipe\n") && log.contains("data/app/socket: a socket\n"), "{log}");
        upload_own_archive(appliance);
        appliance.succeed("backup RESTORE");
        assert!(!appliance.exists("data/app/nagios.cmd"));
    });
}

#[test]
fn a_full_disk_is_foreseen_from_the_bytes_to_write() {
    if !is_root() {
        return;
    }
    let appliance = Appliance::new(Shell::Dash);
    with_data(&appliance);
    sh(&appliance.path("data/app"), "truncate -s 300M lastlog; head -c 9000000 /dev/zero >large");
    must(
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs"]).arg(appliance.path("admin/lib")),
    );
    let refused = appliance.run("backup START");
    sh(&appliance.path("data/app"), "head -c 4000000 /dev/zero >large");
    let packed = appliance.run("backup START");
    must(Command::new("umount").arg(appliance.path("admin/lib")));
    // The holes take nothing.
    let reason = refused.stdout.trim_start_matches("Reason: Not enough free space: ");
    assert!(reason.starts_with("88") && reason.contains(" KiB needed, "), "{refused:?}");
    assert_eq!(packed.code, Some(0), "{packed:?}\n{}", appliance.describe());
}

/// A listed path may be a link of root's: what is meant is where it leads.
#[test]
fn a_listed_link_is_followed_and_stays() {
    under_each_shell(|appliance| {
        appliance.write("disk/file", "precious");
        sh(&appliance.root, "rmdir data; ln -s disk data");
        appliance.write("admin/etc/backup.txt", format!("{}\n", appliance.path("data").display()));
        appliance.succeed("backup START");
        appliance.write("disk/file", "changed");
        upload_own_archive(appliance);
        appliance.succeed("backup RESTORE");
        assert_eq!(appliance.read("disk/file"), "precious");
        assert!(appliance.path("data").is_symlink());
    });
}

/// An account owns the directory that holds the data. While a restore is at work it puts a link in place of that, and its own
/// stage in place of ours: nothing of it lands elsewhere, neither when the restore ends nor when it is rolled back.
#[test]
fn the_owner_of_the_parent_of_the_data_cannot_place_a_file_elsewhere() {
    if !is_root() {
        return;
    }
    for word in ["restore", "undo", "recover"] {
        let appliance = Appliance::new(Shell::Dash);
        let of_them = |path: &str| std::os::unix::fs::lchown(appliance.path(path), Some(12345), Some(12345)).unwrap();
        appliance.write("home/p/app/job", "good\n");
        appliance.write("cron.hourly/other", "");
        appliance.write("admin/etc/backup.txt", format!("{}/home/p/app\n", appliance.root.display()));
        for path in ["home", "home/p", "home/p/app", "home/p/app/job"] {
            of_them(path);
        }
        appliance.succeed("backup START");
        let swap =
            "cd \"${0%/*}/..\"; cd home; [ ! -e old ] || exit; mv p old; ln -s ../cron.hourly p; chown -h 12345 p";
        let plant = "mkdir -p old/.jidoteki-restore/new/0/app old/app; echo evil >old/.jidoteki-restore/new/0/app/evil; echo evil >old/app/evil";
        upload_own_archive(&appliance);
        if word == "restore" {
            stand_in(&appliance, word, &format!("({swap}; {plant}) || :"));
            appliance.run("backup RESTORE");
        } else {
            appliance.succeed("backup RESTORE");
            if word == "recover" {
                fs::rename(appliance.path("admin/lib/restore.undo"), appliance.path("admin/lib/restore.journal"))
                    .unwrap();
            }
            stand_in(&appliance, word, &format!("({swap}; {plant}) || :"));
            appliance.run("backup UNDO");
        }
        assert_eq!(appliance.files("cron.hourly"), ["other"], "{word}\n{}", appliance.describe());
    }
}

/// Memory does not grow with the members, be they in one directory, and names of each other.
#[test]
fn a_large_tree_takes_no_more_memory() {
    let appliance = Appliance::in_memory(Shell::Dash);
    appliance.write("admin/etc/backup.txt", format!("{}/flat\n", appliance.path("data").display()));
    let name = |number: u32| appliance.path(&format!("data/flat/{number:07}{}", "-".repeat(180)));
    fs::create_dir(appliance.path("data/flat")).unwrap();
    for number in 0..20_000 {
        match number % 3 {
            0 => fs::write(name(number), "x").unwrap(),
            1 => fs::hard_link(name(number - 1), name(number)).unwrap(),
            _ => fs::create_dir(name(number)).unwrap(),
        }
    }
    // The names alone are 4 MB. The limit is of all private memory.
    for word in ["pack", "restore"] {
        let mut command = appliance.command(Path::new("/bin/sh"));
        command.args(["-c", "ulimit -d 5000 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_jidoteki-admin-jobs")]);
        must(command.args(["archive", word]).arg(appliance.path("archive.tar")));
    }
}
