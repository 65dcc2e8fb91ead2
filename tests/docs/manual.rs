//! The manual page and the shell completions. They are generated from the command line and checked in; `UPDATE_DOCS=1
//! cargo test` regenerates them.

use clap_complete::Shell;
use jidoteki_admin_api::console::cli;
use std::fs;
use std::process::Command;

const NAME: &str = "jidoteki-admin-api";

/// One page with a section for each command; `man` finds it by the name of the program.
fn page() -> Vec<u8> {
    let mut command = cli::command();
    command.build();
    let man = clap_mangen::Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    page.extend(b".SH COMMANDS\n");
    add_commands(&command, &mut page);
    // Turns "Exit status:" and the lines below it into a section.
    for part in command.get_after_help().unwrap().to_string().split("\n\n") {
        let (title, lines) = part.split_once(":\n").unwrap();
        page.extend(format!(".SH {}\n.nf\n{}\n.fi\n", title.to_uppercase(), roff(lines)).into_bytes());
    }
    page
}

fn add_commands(command: &clap::Command, page: &mut Vec<u8>) {
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        if command.has_subcommands() {
            add_commands(command, page);
            continue;
        }
        let own = |arg: &&clap::Arg| !["admin", "etc", "help", "version"].contains(&arg.get_id().as_str());
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").trim_start_matches(NAME).trim_start().replace(" [OPTIONS]", "");
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        page.extend(format!(".SS {}\n{}.\n", roff(&usage), roff(&about)).into_bytes());
        for arg in command.get_arguments().filter(own) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let values: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
            let values = if values.is_empty() { String::new() } else { format!(" ({})", values.join(", ")) };
            page.extend(format!(".TP\n\\fB{}\\fR\n{}{values}\n", roff(&arg.to_string()), roff(&help)).into_bytes());
        }
    }
}

/// Escapes a text for roff.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn completion(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), NAME, &mut text);
    // For bash, clap_complete 4.6 writes the hyphens of a program's name in two ways, and then finds no subcommand.
    let text = String::from_utf8(text).unwrap();
    text.replace("jidoteki__subcmd__admin__subcmd__api", "jidoteki__admin__api").into_bytes()
}

#[test]
fn the_manual_and_the_completions_are_those_of_the_command_line() {
    let files = [
        ("man/jidoteki-admin-api.1", page()),
        ("completions/jidoteki-admin-api.bash", completion(Shell::Bash)),
        ("completions/_jidoteki-admin-api", completion(Shell::Zsh)),
        ("completions/jidoteki-admin-api.fish", completion(Shell::Fish)),
    ];
    for (name, made) in files {
        let path = format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::create_dir_all(path.rsplit_once('/').unwrap().0).unwrap();
            fs::write(&path, &made).unwrap();
        }
        assert!(fs::read(&path).unwrap_or_default() == made, "docs/{name} is stale: UPDATE_DOCS=1 cargo test");
    }
}

#[test]
fn the_manual_tells_every_command_and_every_option() {
    fn check(command: &clap::Command, page: &str) {
        for arg in command.get_arguments().filter(|arg| arg.get_id() != "help" && arg.get_id() != "version") {
            let name = arg.get_long().map_or_else(|| arg.get_id().to_string(), |long| format!("--{long}"));
            assert!(page.contains(&roff(&name)), "{name} of {} is not in the manual", command.get_name());
        }
        for inner in command.get_subcommands() {
            assert!(page.contains(&roff(inner.get_name())), "{} is not in the manual", inner.get_name());
            check(inner, page);
        }
    }
    check(&cli::command(), &String::from_utf8(page()).unwrap());
}

#[test]
fn bash_completes_the_commands() {
    let complete = |words: &str| {
        let script = format!(
            "{}
             COMP_WORDS=(jidoteki-admin-api {words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
             last=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
             _jidoteki__admin__api jidoteki-admin-api \"$last\" \"$before\"
             echo ${{COMPREPLY[@]}}",
            String::from_utf8(completion(Shell::Bash)).unwrap()
        );
        let mut bash = Command::new("bash");
        let output = bash.args(["--norc", "-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    for (words, wanted) in [
        ("tok", "token"),
        ("token ro", "rotate"),
        ("token add --scope op", "operate"),
        ("audit ver", "verify"),
        ("unl", "unlock"),
    ] {
        assert_eq!(complete(words), wanted, "{words}");
    }
}
