export default `language Sprache
appliance Appliance
menu Menü
skip Zum Inhalt springen
logOut Abmelden
logOutAsk Abmelden, während eine Datei hochgeladen wird? | Die Übertragung wird abgebrochen, und nichts wird installiert.
home Übersicht
monitor Verlauf
update Update
backup Backup | Die Daten der Appliance in einer Datei. Bewahren Sie eine Kopie an einem anderen Ort auf.
network Netzwerk
certs Zertifikate
storage Speicher | Änderungen gelten ab dem nächsten Neustart. Daten werden nicht kopiert.
license Lizenz
tokens Token
token Token
jobs Vorgänge
audit Audit-Log | Wer wann was getan hat, neueste Einträge zuerst.
support Support
restart Neustart | Diese Seite zeigt an, wenn die Appliance wieder erreichbar ist.
show Anzeigen
hide Verbergen
cancel Abbrechen
close Schließen
back Zurück
again Erneut versuchen
reload Seite neu laden
apply Anwenden
save Speichern
install Installieren
review Änderungen prüfen
undo Rückgängig machen
older Ältere Einträge anzeigen
copy Kopieren
copied Kopiert
optional optional
loading Wird geladen…
says Meldung der Appliance:
need Erforderlich
needOnly Erlaubte Zeichen: {set}
needLength {min} bis {max} Zeichen
needLonger Mindestens {min} Zeichen
needIP Keine IP-Adresse
needMask Keine Netzmaske
needObject Kein JSON-Objekt: { … }
left noch {time}
ofBytes {done} von {all}
uploading {file} wird hochgeladen
checking Hochgeladen. Warten auf die Appliance…
collecting Wird zusammengestellt…
saved {file} heruntergeladen ({size})
lost Verbindung unterbrochen | Diese Seite verbindet sich von selbst wieder.
waiting Keine Antwort seit {time}
err_network Die Appliance antwortet nicht | Prüfen Sie, ob sie eingeschaltet ist und dieser Computer mit ihrem Netzwerk verbunden ist.
err_file Die Datei kann nicht gelesen werden | Sie wurde nach der Auswahl verschoben, geändert oder gelöscht. Wählen Sie sie noch einmal aus.
err_gone Die Appliance hat diesen Upload nicht mehr | Nichts wurde geändert. Senden Sie die Datei noch einmal.
err_twice Diese Datei wird bereits gesendet | Ein anderer Tab dieses Browsers sendet sie. Warten Sie, bis er fertig ist, oder schließen Sie ihn.
errBusy Die Appliance ist beschäftigt oder startet gerade | Versuchen Sie es in einer Minute erneut.
errOdd Die Antwort ist unverständlich | Vielleicht kam sie nicht von der Appliance, sondern von einem Proxy oder einer Anmeldeseite. Prüfen Sie das Ergebnis, bevor Sie es erneut versuchen.
err403 Dieses Token ist dafür nicht berechtigt | Nichts wurde geändert. Melden Sie sich mit einem Token an, das dazu berechtigt ist.
err413 Die Datei ist zu groß | Nichts wurde geändert.
err429 Zu viele Versuche | Warten Sie einen Moment und versuchen Sie es dann erneut.
err500 Interner Fehler der Appliance | Senden Sie die Logs an Ihren Hersteller (Seite „Support“).
errOther Anfrage abgelehnt | Nichts wurde geändert.
errFailed Die Änderung ist fehlgeschlagen
E1000 Der Vorgang wurde unterbrochen | Versuchen Sie es erneut. Passiert es wieder, senden Sie das Log an Ihren Hersteller.
E1001 Nicht neuer als die installierte Version oder nicht für diese Appliance | Nichts wurde geändert. Fragen Sie Ihren Hersteller nach dem richtigen Paket.
installedAlready Version {before} ist bereits installiert | Nichts wurde geändert.
E1002 Das Update ist bei der Installation fehlgeschlagen | Senden Sie das Log an Ihren Hersteller, bevor Sie es erneut versuchen.
E1003 Etwas hat gefehlt | Nichts wurde geändert. Senden Sie die Datei noch einmal.
E1004 Ein anderer Vorgang läuft gerade | Nichts wurde geändert. Warten Sie, bis er abgeschlossen ist.
E1005 Das Paket ist beschädigt oder nicht von Ihrem Hersteller | Nichts wurde geändert. Laden Sie es noch einmal herunter.
changed Diese Seite konnte nicht geladen werden | Die Appliance ist nicht erreichbar, oder ihre Oberfläche wurde gerade aktualisiert.
tooOld Dieser Browser ist zu alt | Verwenden Sie Chrome oder Edge ab 120, Firefox ab 119 oder Safari ab 17.
insecure Diese Seite braucht HTTPS | Ohne Verschlüsselung kann ein Browser keine Anfragen signieren. Öffnen Sie stattdessen diese Adresse:
readOnly Nur Lesen
mayNot Ihr Token ist dafür nicht berechtigt | „{name}“ hat den Bereich {scope}, erforderlich ist {needs}. Melden Sie sich mit einem anderen Token an oder fragen Sie einen Administrator.
logIn Anmelden
tokenWrong Das Token ist falsch. Achten Sie auf Groß- und Kleinschreibung.
stay Angemeldet bleiben | Nur auf Ihrem eigenen Computer. Andernfalls werden Sie nach 30 Minuten ohne Aktivität abgemeldet. Das Token selbst wird nicht gespeichert.
loggedOut Sie sind abgemeldet
idle Sie wurden nach 30 Minuten ohne Aktivität abgemeldet
sessionEnded Bitte melden Sie sich erneut an | Das Token wurde geändert oder ist nicht mehr gültig.
noToken Ich habe kein Token
noTokenDo Das Token wurde bei der Einrichtung festgelegt. Ist es verloren, lässt es sich nur an der Konsole ersetzen. Ist die Appliance neu?
isNew Erstes Token setzen
newBox Token wählen | Wer es hat, hat die volle Kontrolle über diese Appliance.
firstRun Willkommen | Der Bildschirm der Appliance zeigt eine Passphrase. Geben Sie sie hier ein und wählen Sie ein Token.
passphrase Passphrase | Alle Wörter, auch die Bindestriche
passphraseWrong Diese Passphrase steht nicht auf dem Bildschirm
newToken Neues Token | Mindestens 16 Zeichen
tokenAgain Neues Token wiederholen
tokenDiffers Die beiden Token stimmen nicht überein
suggest Erzeugen
setToken Token setzen
storeToken Speichern Sie dieses Token jetzt | Es wird nur einmal angezeigt. Legen Sie es in Ihrem Passwort-Manager ab.
tokenStored Ich habe es gespeichert
alreadySet Diese Appliance hat bereits ein Token | Gehen Sie zurück und melden Sie sich damit an.
changeToken API-Token ändern | Das bisherige API-Token gilt sofort nicht mehr.
you Sie sind angemeldet mit
tokenName Name
scope Bereich
scope_read read: Zustand der Appliance ansehen
scope_operate operate: auch Updates, Backups, Logs und Neustarts
scope_admin admin: alles
named Benannte Token
ends Gültig bis
never unbegrenzt
remove Entfernen
removeAsk Token „{name}“ entfernen? | Programme, die es verwenden, werden sofort abgewiesen.
removed Das Token „{name}“ ist entfernt
newNamed Benanntes Token erstellen
days Gültigkeit in Tagen | Leer lassen für ein Token ohne Ablaufdatum
needDays Keine ganze Zahl von Tagen
makeToken Token erstellen
tokenMade Das Token „{name}“ ist erstellt
tokenChanged Das neue API-Token gilt
hostname Hostname
version Version
built Erstellt
address Adresse
clock Uhrzeit
since In Betrieb seit
noLink nicht verbunden
noAddress keine Adresse
dhcp Automatisch (DHCP)
static Feste Adresse
attention Handlungsbedarf
attentionNone Kein Handlungsbedarf
look Öffnen
aServices Nicht aktiv: {names}
aBad {what}: Auslastung {value}
aCert Das Zertifikat läuft in {days} Tagen ab
aCertToday Das Zertifikat läuft heute ab
aCertOver Das Zertifikat ist abgelaufen
aServed Der Webserver verwendet ein anderes Zertifikat
aLicense Die Lizenz läuft in {days} Tagen ab
aLicenseOver Die Lizenz ist abgelaufen
aFailed {what}: fehlgeschlagen
aSilent {what}: seit {time} kein Lebenszeichen
aRestart Ein Neustart steht aus | {what}: wird erst mit dem nächsten Neustart wirksam.
aClock Die Uhr der Appliance geht falsch | Sie weicht um {time} von der Uhr dieses Computers ab. Richten Sie einen Zeitserver ein.
health Zustand
cpu Prozessor
memory Arbeitsspeicher
disk Festplatte
good normal
warn hoch
bad kritisch
noData Keine Daten
cpuDetail {num} Prozessoren, Last {load}
usedOf {used} von {total}
services Dienste
servicesUp Alle Dienste laufen.
servicesDown {down} nicht aktiv
servicesNone Es sind keine Dienste eingetragen.
up läuft
down läuft nicht
changelog Neuerungen
noLicense Keine Lizenz installiert
newLicense Lizenz installieren
licenseFile Lizenzdatei | license.asc
license_app Produkt
license_users Benutzer
license_expires Gültig bis
license_name Name
license_contact Kontakt
newUpdate Update installieren | Das Paket wird geprüft, bevor etwas installiert wird.
package Update-Paket | Die .enc-Datei von Ihrem Hersteller
uploadInstall Hochladen und installieren
installAsk Version {after} installieren? | Das Paket ist unversehrt und vom Hersteller signiert.
installing Wird installiert
mayLeave Lassen Sie diesen Tab offen, bis die Datei hochgeladen ist.
keepPower Schalten Sie die Appliance nicht aus. Diese Seite können Sie schließen.
wholeLog Vollständiges Log anzeigen
lastChange Letzte Änderung
none Noch nichts
updated Das Update ist installiert
updatedFrom Von {before} auf {after} aktualisiert
afterUpdate Nächster Schritt | Starten Sie die Appliance neu, wenn die Hinweise Ihres Herstellers das verlangen.
uploadLost Verbindung unterbrochen | Nichts wurde geändert. Versuchen Sie es erneut; was angekommen ist, bleibt erhalten.
uploadOpen {file}: {done} von {all} hochgeladen | Wählen Sie dieselbe Datei noch einmal aus, um fortzufahren.
uploadElsewhere Unvollständiger Upload: {done} von {all} | Er wurde in einem anderen Browser oder von einem anderen Programm mit diesem Token begonnen.
discard Verwerfen
asking Es wird geprüft, ob die Datei angekommen ist
uploadCancelled Abgebrochen. Nichts wurde geändert.
log Log
find Log durchsuchen
follow Neuen Zeilen folgen
lines {n} von {all} Zeilen
logOf Log von
logs Logs | Nicht verschlüsselt. Bekannte Geheimnisse sind entfernt.
logsFetch Logs herunterladen
debug Debug-Paket | Verschlüsselt. Nur Ihr Hersteller kann es lesen.
debugFetch Debug-Paket herunterladen
docs API
docsOpen API-Dokumentation öffnen
restartAsk Appliance neu starten? | Wer sie gerade verwendet, verliert die Verbindung.
restartForce Trotzdem neu starten
restartForceAsk Neu starten, obwohl ein Vorgang läuft? | Der Vorgang wird abgebrochen, seine Änderungen können verloren gehen.
goingDown Fährt herunter ({time})
isDown Aus oder startet gerade ({time}). Dauert es lange, sehen Sie auf den Bildschirm der Appliance.
cameBack Nach {time} wieder erreichbar | Es läuft Version {version}.
interface Netzwerkschnittstelle | Zum Beispiel eth0
mode Adressierung
ip_address IP-Adresse | Zum Beispiel 192.168.1.10 oder fd00::10
netmask Netzmaske | Zum Beispiel 255.255.255.0 oder 24
gateway Gateway
dns1 DNS-Server
dns2 Zweiter DNS-Server
ntpserver Zeitserver (NTP)
app Einstellungen der Anwendung | JSON, wie von Ihrem Hersteller beschrieben
noSettings Noch keine Einstellungen gespeichert | Was Sie speichern, ersetzt die Vorgaben.
trial Automatisch zurücksetzen, wenn ich nicht bestätige | Sonst gelten nach {time} wieder die bisherigen Einstellungen.
applyAsk Diese Änderungen anwenden? | Die Verbindung kann kurz unterbrochen werden.
nothingChanges Keine Abweichung von den aktuellen Einstellungen | Es gibt nichts anzuwenden.
moves Diese Seite ist danach unter {url} erreichbar | Melden Sie sich dort an, und bestätigen Sie, falls Sie gefragt werden.
movesUnknown Die Adresse kann sich ändern | Die neue Adresse zeigt die Konsole oder der DHCP-Server. Melden Sie sich dort an.
noTrial Diese Änderung bleibt, auch wenn sie Sie aussperrt
applying Die Änderungen werden angewendet
onTrial Die neuen Einstellungen funktionieren | Sie gelten vorläufig, bis Sie sie oben bestätigen.
inForce Die neuen Einstellungen gelten
notInForce Die neuen Einstellungen gelten nicht | Die bisherigen Einstellungen gelten weiter.
stored Die Einstellungen sind gespeichert | Die Skripte des Images wenden sie an, meist beim nächsten Start.
gone Unter dieser Adresse keine Antwort mehr | Machen Sie unter der neuen Adresse weiter, und bestätigen Sie dort.
reverting Die bisherigen Einstellungen werden wiederhergestellt…
trialBegun {what}: Bestätigen Sie Ihre Änderung
trialReverting {what}: Die bisherigen Einstellungen werden wiederhergestellt
trialKept {what}: Änderung bestätigt
trialUndone {what}: Die bisherigen Einstellungen gelten wieder
trialReverted {what}: nicht rechtzeitig bestätigt; die bisherigen Einstellungen gelten wieder
pendingNote Eine weitere Änderung ist erst möglich, wenn diese bestätigt oder zurückgesetzt ist.
keep Behalten
revertNow Jetzt zurücksetzen
job_settings_undo Zurücksetzen der Netzwerkeinstellungen
job_certs_undo Zurücksetzen der Zertifikate
certNow Aktives Zertifikat
newCerts Zertifikat installieren | PEM-Dateien
public Zertifikat
private Privater Schlüssel | Ohne Passphrase
ca Zertifikatskette | Zertifikate zwischen Ihrem und dem Stammzertifikat
needCert Kein PEM-Zertifikat
isKey Das ist ein privater Schlüssel
needKey Kein privater PEM-Schlüssel
keyEncrypted Dieser Schlüssel hat eine Passphrase
privateOrNot Privater Schlüssel | Leer lassen, um den Schlüssel der Anforderung unten zu verwenden
csr Zertifikat anfordern | Der Schlüssel entsteht hier und verlässt die Appliance nie.
names Hostnamen und Adressen | Durch Kommas oder Leerzeichen getrennt
keyKind Schlüsseltyp
csrMake Anforderung erstellen
csrWaits Zertifikatsanforderung | Senden Sie sie an Ihre Zertifizierungsstelle. Installieren Sie das Zertifikat oben; sein privater Schlüssel ist schon hier.
csrSave Herunterladen
csrForget Anforderung löschen
csrForgetAsk Anforderung und Schlüssel löschen? | Ein Zertifikat zu dieser Anforderung kann danach nicht mehr installiert werden.
certFor Namen
certBy Aussteller
certFrom Gültig ab
certTo Gültig bis
certDays {date} ({days} Tage)
certSelf Selbstsigniert | Browser warnen davor.
certExpired Es ist abgelaufen
certEarly Es ist noch nicht gültig
certNames Es gilt nicht für {host} | Browser werden unter dieser Adresse warnen.
certSame Dieses Zertifikat ist bereits aktiv | Es gibt nichts anzuwenden.
certsTrust Ihr Browser vertraut dem neuen Zertifikat vielleicht nicht | Nehmen Sie es in einem neuen Tab an. Danach geht es hier weiter.
done Installiert
storageKind Typ
storageAsk Speicher ändern? | Die Änderung gilt ab dem nächsten Neustart.
storageMoves Speicher wechseln? | Von „{from}“ zu „{to}“ beim nächsten Neustart. Daten werden nicht kopiert.
storageDone Die Speichereinstellungen sind gespeichert | Sie gelten ab dem nächsten Neustart.
storageUndone Die vorherigen Speichereinstellungen sind zurück | Sie gelten ab dem nächsten Neustart.
storageFailed Der Speicher wurde nicht geändert | Die bisherigen Einstellungen gelten weiter.
storageUndo Letzte Änderung rückgängig machen
storageUndoAsk Zu den vorherigen Speichereinstellungen zurückkehren? | Sie gelten ab dem nächsten Neustart.
warnings Bitte beachten
local Lokale Festplatte
nfs NFS
aoe ATA over Ethernet
iscsi iSCSI
nbd Network Block Device
mount_options Mount-Optionen | Zum Beispiel noacl,sync
ip IP-Adresse des Servers
share Freigabe | Zum Beispiel /nfs/storage
device Gerät | Zum Beispiel e0.1
target Target | Zum Beispiel iqn.2016-01.com.example:disk1
username Benutzername
password Passwort
export_name Export-Name
port Port
backupRuns Backup wird erstellt
backupStart Backup erstellen
backupStop Abbrechen
backupFetch Herunterladen
backupDelete Löschen
backupDeleteAsk Backup auf der Appliance löschen? | Heruntergeladene Dateien sind nicht betroffen.
made Erstellt
size Größe
restore Wiederherstellen | Ersetzt die aktuellen Daten. Das Backup wird vorher geprüft.
archive Backup | Eine Datei, die Sie hier heruntergeladen haben
restoreAsk Aktuelle Daten ersetzen? | Sie werden durch die Daten aus {file} ersetzt.
restoreRuns Hochgeladen. Wird wiederhergestellt…
restored Wiederhergestellt | Starten Sie die Appliance neu, damit überall die wiederhergestellten Daten verwendet werden.
undone Die Wiederherstellung wurde rückgängig gemacht | Starten Sie die Appliance neu, damit überall die vorherigen Daten verwendet werden.
restoreLost Die Antwort ging verloren | Sehen Sie in das Log, bevor Sie es erneut versuchen.
undoRestore Letzte Wiederherstellung rückgängig machen
undoAsk Wiederherstellung rückgängig machen? | Die Daten von vorher werden zurückgeholt.
range Zeitraum
range_1h Stunde
range_1d Tag
range_1w Woche
range_1m Monat
range_1y Jahr
summary jetzt {last}, Durchschnitt {mean}, Maximum {peak} ({when})
plotTimes Zeiten in {zone}
network_in Eingehend
network_out Ausgehend
noMonitor Noch kein Verlauf | Erforderlich sind der Endpunkt "monitor" und das Programm rrdtool.
jobsNow Laufend
jobsPast Abgeschlossen
noJobs Noch keine Vorgänge
jobsNone Zurzeit läuft kein Vorgang
job Vorgang
by Gestartet von
started Beginn
took Dauer
state Ergebnis
stage_running läuft
stage_success erfolgreich
stage_failed fehlgeschlagen
stage_interrupted unterbrochen
job_update Update
job_settings Netzwerkeinstellungen
job_certs Zertifikate
job_license Lizenz
job_storage Speicher
job_backup Backup
job_backup_START Backup
job_backup_STOP Löschen des Backups
job_backup_RESTORE Wiederherstellung
job_backup_UNDO Rücknahme einer Wiederherstellung
job_storage_undo Rücknahme der Speichereinstellungen
job_settings_confirm Bestätigung der Netzwerkeinstellungen
job_certs_confirm Bestätigung der Zertifikate
job_certs_csr Zertifikatsanforderung
job_reboot Neustart
job_token Token
job_logs Logs
job_debug Debug-Paket
jobRuns {what}: läuft | {step}
transferRuns {what} | Lassen Sie diesen Tab offen.
when Zeit
action Aktion
who Token
from Adresse
noAudit Kein Audit-Log | Erforderlich ist der Endpunkt "audit".`;
