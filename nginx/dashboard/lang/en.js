export default `language Language
appliance Appliance
menu Menu
skip Skip to content
logOut Log out
logOutAsk Log out while a file is being sent? | The transfer is canceled, and nothing is installed.
home Overview
monitor Monitor
update Update
backup Backup | One file to restore from. Keep a copy somewhere else.
network Network
certs Certificates
storage Storage | Changes take effect at the next restart. Data is not copied.
license License
tokens Tokens
token Token
jobs Jobs
audit Audit log | Who did what, newest first.
support Support
restart Restart | This page tells you when the appliance is back.
show Show
hide Hide
cancel Cancel
close Close
back Back
again Try again
reload Reload this page
apply Apply
save Save
install Install
review Review changes
undo Undo
older Show older entries
copy Copy
copied Copied
optional optional
loading Loading…
says The appliance reports:
need Required
needOnly Allowed characters: {set}
needLength {min} to {max} characters
needLonger At least {min} characters
needIP Not an IP address
needMask Not a netmask
needObject Not a JSON object: { … }
left {time} left
ofBytes {done} of {all}
uploading Sending {file}
checking Sent. Waiting for the appliance…
collecting Collecting…
saved {file} downloaded ({size})
lost Connection lost | This page reconnects by itself.
waiting No response for {time}
err_network The appliance does not respond | Check that it is switched on and that this computer is connected to its network.
err_file The file cannot be read | It was moved, changed or deleted after you chose it. Choose it again.
err_gone The appliance no longer has this upload | Nothing was changed. Send the file again.
err_twice This file is already being sent | Another tab of this browser sends it. Wait for it, or close that tab.
errBusy The appliance is busy or starting | Try again in a minute.
errOdd The response makes no sense | Something other than the appliance may have sent it, such as a proxy or a login page. Check the result before you try again.
err403 This token may not do that | Nothing was changed. Log in with a token that may.
err413 The file is too large | Nothing was changed.
err429 Too many attempts | Wait a moment, then try again.
err500 The appliance reported an internal error | Send the logs to your vendor (page Support).
errOther The request was refused | Nothing was changed.
errFailed The change failed
E1000 The job was interrupted | Try again. If it happens again, send the log to your vendor.
E1001 Not newer than the installed version, or not for this appliance | Nothing was changed. Ask your vendor for the right package.
installedAlready Version {before} is already installed | Nothing was changed.
E1002 The update failed during installation | Send the log to your vendor before you try again.
E1003 Something was missing | Nothing was changed. Send the file again.
E1004 Another job is in progress | Nothing was changed. Wait until it has finished.
E1005 The package is damaged or not from your vendor | Nothing was changed. Download it again.
changed This page could not be loaded | The appliance is unavailable, or its dashboard was just updated.
tooOld This browser is too old | Use Chrome or Edge 120, Firefox 119, Safari 17, or newer.
insecure This page needs HTTPS | Over plain HTTP, a browser cannot sign requests. Open this address instead:
readOnly Read only
mayNot Your token may not do this | “{name}” has the scope {scope}; this needs the scope {needs}. Log in with another token, or ask an administrator.
logIn Log in
tokenWrong The token is not correct. Tokens are case-sensitive.
stay Stay logged in | Only on your own computer. Otherwise, you are logged out after 30 minutes without activity. The token itself is not stored.
loggedOut You are logged out
idle You were logged out after 30 minutes without activity
sessionEnded Please log in again | The token was changed, or is no longer valid.
noToken I don't have a token
noTokenDo The token was chosen during setup. If it is lost, it can be replaced only at the console. Is the appliance new?
isNew Set the first token
newBox Choose a token | Anyone who has it controls this appliance.
firstRun Welcome | The appliance's screen shows a passphrase. Enter it here and choose a token.
passphrase Setup passphrase | All words, including the hyphens
passphraseWrong This is not the passphrase on the screen
newToken New token | At least 16 characters
tokenAgain Repeat the new token
tokenDiffers The two tokens differ
suggest Generate
setToken Set token
storeToken Store this token now | It is shown only once. Put it into your password manager.
tokenStored I have stored it
alreadySet This appliance already has a token | Go back and log in with it.
changeToken Change the API token | The current API token stops working immediately.
you You are logged in with
tokenName Name
scope Scope
scope_read read: view the appliance's state
scope_operate operate: also updates, backups, logs and restarts
scope_admin admin: everything
named Named tokens
ends Expires
never never
remove Remove
removeAsk Remove the token “{name}”? | Programs that use it are refused immediately.
removed The token “{name}” is removed
newNamed Create a named token
days Valid for days | Leave empty for a token that does not expire
needDays Not a whole number of days
makeToken Create token
tokenMade The token “{name}” is created
tokenChanged The new API token is in force
hostname Host name
version Version
built Built
address Address
clock Clock
since Running since
noLink not connected
noAddress no address
dhcp Automatic (DHCP)
static Static address
attention Needs attention
attentionNone Nothing needs attention
look Open
aServices Not running: {names}
aBad {what} is at {value}
aCert The certificate expires in {days} days
aCertToday The certificate expires today
aCertOver The certificate has expired
aServed The web server uses another certificate
aLicense The license expires in {days} days
aLicenseOver The license has expired
aFailed {what} failed
aSilent {what}: no sign of life for {time}
aRestart A restart is pending | {what} takes effect at the next restart.
aClock The appliance's clock is wrong | It differs from this computer's clock by {time}. Set a time server.
health Health
cpu Processor
memory Memory
disk Disk
good normal
warn high
bad critical
noData No data
cpuDetail {num} processors, load {load}
usedOf {used} of {total}
services Services
servicesUp All services are running.
servicesDown {down} not running
servicesNone No services are configured.
up running
down not running
changelog What's new
noLicense No license installed
newLicense Install a license
licenseFile License file | license.asc
license_app Product
license_users Users
license_expires Expires
license_name Name
license_contact Contact
newUpdate Install an update | The package is checked before anything is installed.
package Update package | The .enc file from your vendor
uploadInstall Send and install
installAsk Install version {after}? | The package is intact and signed by your vendor.
installing Installing
mayLeave Keep this tab open until the file is sent.
keepPower Keep the appliance switched on. You can close this page.
wholeLog Show the complete log
lastChange Last change
none Nothing yet
updated The update is installed
updatedFrom Updated from {before} to {after}
afterUpdate Next step | Restart the appliance if your vendor's notes say so.
uploadLost Connection lost | Nothing was changed. Try again; what has arrived is kept.
uploadOpen {file}: {done} of {all} sent | Choose the same file again to continue.
uploadElsewhere Unfinished upload: {done} of {all} | It was started in another browser or by another program with this token.
discard Discard
asking Checking whether the file arrived
uploadCancelled Canceled. Nothing was changed.
log Log
find Search the log
follow Follow new lines
lines {n} of {all} lines
logOf Log of
logs Logs | Not encrypted. Known secrets are removed.
logsFetch Download logs
debug Debug bundle | Encrypted. Only your vendor can read it.
debugFetch Download debug bundle
docs API
docsOpen Open the API documentation
restartAsk Restart the appliance? | Everyone using it will be disconnected.
restartForce Restart anyway
restartForceAsk Restart although a job is running? | The job is cut off, and its changes may be lost.
goingDown Shutting down ({time})
isDown Off or starting ({time}). If this takes long, look at the appliance's screen.
cameBack Back after {time} | It runs version {version}.
interface Network interface | For example eth0
mode Addressing
ip_address IP address | For example 192.168.1.10 or fd00::10
netmask Netmask | For example 255.255.255.0 or 24
gateway Gateway
dns1 DNS server
dns2 Second DNS server
ntpserver Time server (NTP)
app Application settings | JSON, as described by your vendor
noSettings No settings are stored yet | What you save replaces the defaults.
trial Roll back automatically unless I confirm | Otherwise the previous settings return after {time}.
applyAsk Apply these changes? | The connection may be interrupted.
nothingChanges Nothing differs from the current settings | There is nothing to apply.
moves This page will move to {url} | Log in there, and confirm if asked.
movesUnknown The address may change | The console or the DHCP server shows the new one. Log in there.
noTrial This change stays even if it locks you out
applying Applying the changes
onTrial The new settings work | They are temporary until you confirm them above.
inForce The new settings are in force
notInForce The new settings are not in force | The previous settings apply.
stored The settings are stored | The image's own scripts apply them, usually at the next start.
gone No response at this address any more | Continue at the new address and confirm there.
reverting Restoring the previous settings…
trialBegun {what}: confirm your change
trialReverting {what}: restoring the previous settings
trialKept {what}: change confirmed
trialUndone {what}: previous settings restored
trialReverted {what}: not confirmed in time; previous settings restored
pendingNote No other change is possible until this one is confirmed or rolled back.
keep Keep it
revertNow Revert now
job_settings_undo Rollback of network settings
job_certs_undo Rollback of certificates
certNow Certificate in force
newCerts Install a certificate | PEM files
public Certificate
private Private key | Without a passphrase
ca Chain | Certificates between yours and the root
needCert Not a PEM certificate
isKey This is a private key
needKey Not a PEM private key
keyEncrypted This key has a passphrase
privateOrNot Private key | Leave empty to use the key of the request below
csr Request a certificate | The key is created here and never leaves the appliance.
names Host names and addresses | Separated by commas or spaces
keyKind Type of key
csrMake Create request
csrWaits Certificate request | Send it to your certificate authority. Install the certificate above; its private key is already here.
csrSave Download
csrForget Delete request
csrForgetAsk Delete the request and its key? | A certificate for this request cannot be installed afterwards.
certFor Names
certBy Issuer
certFrom Valid from
certTo Valid until
certDays {date} ({days} days)
certSelf Self-signed | Browsers warn about it.
certExpired It has expired
certEarly It is not valid yet
certNames It does not cover {host} | Browsers will warn at this address.
certSame This certificate is already in force | There is nothing to apply.
certsTrust Your browser may not trust the new certificate | Accept it in a new tab. This page then continues.
done Installed
storageKind Type
storageAsk Change the storage? | It takes effect at the next restart.
storageMoves Switch the storage? | From “{from}” to “{to}” at the next restart. Data is not copied.
storageDone The storage settings are saved | They take effect at the next restart.
storageUndone The previous storage settings are back | They take effect at the next restart.
storageFailed The storage was not changed | The previous settings apply.
storageUndo Undo the last change
storageUndoAsk Return to the previous storage settings? | They take effect at the next restart.
warnings Please note
local Local disk
nfs NFS
aoe ATA over Ethernet
iscsi iSCSI
nbd Network block device
mount_options Mount options | For example noacl,sync
ip Server IP address
share Share | For example /nfs/storage
device Device | For example e0.1
target Target | For example iqn.2016-01.com.example:disk1
username User name
password Password
export_name Export name
port Port
backupRuns Backup in progress
backupStart Create backup
backupStop Stop
backupFetch Download
backupDelete Delete
backupDeleteAsk Delete the backup on the appliance? | Files that you downloaded are not affected.
made Created
size Size
restore Restore | Replaces the current data. The backup is checked first.
archive Backup | A file that you downloaded here
restoreAsk Replace current data? | The data from {file} replaces it.
restoreRuns Sent. Restoring…
restored Restored | Restart the appliance so that everything uses the restored data.
undone The restore is undone | Restart the appliance so that everything uses the previous data.
restoreLost The response was lost | Look at the log before you try again.
undoRestore Undo the last restore
undoAsk Undo the restore? | The data from before the restore returns.
range Range
range_1h Hour
range_1d Day
range_1w Week
range_1m Month
range_1y Year
summary now {last}, average {mean}, peak {peak} ({when})
plotTimes Times in {zone}
network_in Received
network_out Sent
noMonitor No plots yet | They need the endpoint "monitor" and the program rrdtool.
jobsNow Running
jobsPast Finished
noJobs No jobs yet
jobsNone No job is running
job Job
by Started by
started Started
took Duration
state Result
stage_running running
stage_success done
stage_failed failed
stage_interrupted interrupted
job_update Update
job_settings Network settings
job_certs Certificates
job_license License
job_storage Storage
job_backup Backup
job_backup_START Backup
job_backup_STOP Deleting the backup
job_backup_RESTORE Restore
job_backup_UNDO Undo of a restore
job_storage_undo Undo of storage settings
job_settings_confirm Confirmation of network settings
job_certs_confirm Confirmation of certificates
job_certs_csr Certificate request
job_reboot Restart
job_token Token
job_logs Logs
job_debug Debug bundle
jobRuns {what} in progress | {step}
transferRuns {what} | Keep this tab open.
when Time
action Action
who Token
from Address
noAudit No audit log | It needs the endpoint "audit".`;
