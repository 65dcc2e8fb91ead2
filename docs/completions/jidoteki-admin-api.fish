# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_jidoteki_admin_api_global_optspecs
    string join \n admin= etc= h/help V/version
end

function __fish_jidoteki_admin_api_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_jidoteki_admin_api_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_jidoteki_admin_api_using_subcommand
    set -l cmd (__fish_jidoteki_admin_api_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -s V -l version -d 'Print version'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -f -a "hash" -d 'Signs a request: prints the value of ?hash=. The token is read from standard input'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -f -a "routes" -d 'Lists every request of the API'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -f -a "check" -d 'Checks this installation and suggests fixes; run as root for a full check'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -f -a "first-run" -d 'Prints the setup passphrase; creates it if first run is enabled'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -f -a "token" -d 'Adds, lists, removes and replaces API tokens; as root'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -f -a "unlock" -d 'Clears rate limits; as root'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -f -a "audit" -d 'Checks the audit log'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -f -a "openapi" -d 'Prints the API as an OpenAPI document'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand hash" -l token-file -d 'Read the token from this file instead' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand hash" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand hash" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand hash" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand routes" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand routes" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand routes" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand check" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand check" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand check" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand first-run" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand first-run" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand first-run" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and not __fish_seen_subcommand_from add list remove rotate help" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and not __fish_seen_subcommand_from add list remove rotate help" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and not __fish_seen_subcommand_from add list remove rotate help" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and not __fish_seen_subcommand_from add list remove rotate help" -f -a "add" -d 'Adds a named token, and prints it once'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and not __fish_seen_subcommand_from add list remove rotate help" -f -a "list" -d 'Lists the tokens with their scope and expiration time'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and not __fish_seen_subcommand_from add list remove rotate help" -f -a "remove" -d 'Removes a named token, effective immediately'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and not __fish_seen_subcommand_from add list remove rotate help" -f -a "rotate" -d 'Sets or replaces the API token, and prints the new one once'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and not __fish_seen_subcommand_from add list remove rotate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from add" -l scope -d 'What the token allows: read the state, operate the appliance, or everything' -r -f -a "read\t''
operate\t''
admin\t''"
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from add" -l days -d 'Days until it expires, 1 to 3650 [default: never]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from add" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from add" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from list" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from list" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from remove" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from remove" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from rotate" -l overlap -d 'Hours for which the old token also stays valid, up to 720; 0 for none' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from rotate" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from rotate" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "add" -d 'Adds a named token, and prints it once'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "list" -d 'Lists the tokens with their scope and expiration time'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Removes a named token, effective immediately'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Sets or replaces the API token, and prints the new one once'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand unlock" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand unlock" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand unlock" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -f -a "verify" -d 'Verifies that the audit log is intact, or names the first altered line; as root'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand audit; and __fish_seen_subcommand_from verify" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand audit; and __fish_seen_subcommand_from verify" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand audit; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Verifies that the audit log is intact, or names the first altered line; as root'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand openapi" -l admin -d 'The admin path [default: /opt/jidoteki/tinyadmin/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand openapi" -l etc -d 'The etc path [default: /usr/local/etc/]' -r
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand openapi" -s h -l help -d 'Print help'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and not __fish_seen_subcommand_from hash routes check first-run token unlock audit openapi help" -f -a "hash" -d 'Signs a request: prints the value of ?hash=. The token is read from standard input'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and not __fish_seen_subcommand_from hash routes check first-run token unlock audit openapi help" -f -a "routes" -d 'Lists every request of the API'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and not __fish_seen_subcommand_from hash routes check first-run token unlock audit openapi help" -f -a "check" -d 'Checks this installation and suggests fixes; run as root for a full check'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and not __fish_seen_subcommand_from hash routes check first-run token unlock audit openapi help" -f -a "first-run" -d 'Prints the setup passphrase; creates it if first run is enabled'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and not __fish_seen_subcommand_from hash routes check first-run token unlock audit openapi help" -f -a "token" -d 'Adds, lists, removes and replaces API tokens; as root'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and not __fish_seen_subcommand_from hash routes check first-run token unlock audit openapi help" -f -a "unlock" -d 'Clears rate limits; as root'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and not __fish_seen_subcommand_from hash routes check first-run token unlock audit openapi help" -f -a "audit" -d 'Checks the audit log'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and not __fish_seen_subcommand_from hash routes check first-run token unlock audit openapi help" -f -a "openapi" -d 'Prints the API as an OpenAPI document'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and not __fish_seen_subcommand_from hash routes check first-run token unlock audit openapi help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "add" -d 'Adds a named token, and prints it once'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "list" -d 'Lists the tokens with their scope and expiration time'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "remove" -d 'Removes a named token, effective immediately'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "rotate" -d 'Sets or replaces the API token, and prints the new one once'
complete -c jidoteki-admin-api -n "__fish_jidoteki_admin_api_using_subcommand help; and __fish_seen_subcommand_from audit" -f -a "verify" -d 'Verifies that the audit log is intact, or names the first altered line; as root'
