//! Access control lists as other programs write them into an archive: text in `SCHILY.acl.access` and `SCHILY.acl.default`, by
//! GNU tar, libarchive and star. Our own archives have the kernel's form, as an extended attribute.

use std::path::Path;

/// The version of the kernel's form.
const VERSION: [u8; 4] = [2, 0, 0, 0];
/// The id of an entry that has none.
const NO_ID: u32 = u32::MAX;

/// The name of the kernel's attribute, and the beginning of the record's key that stands for it.
pub const KEYS: [(&[u8], &[u8]); 2] =
    [(b"SCHILY.acl.access", b"system.posix_acl_access"), (b"SCHILY.acl.default", b"system.posix_acl_default")];

/// The kernel's form of a text. `None` if it is not one, or if it names an account that this machine does not have.
pub fn of_text(text: &[u8]) -> Option<Vec<u8>> {
    let mut entries = Vec::new();
    for entry in str::from_utf8(text).ok()?.split(['\n', ',']) {
        // GNU tar copies what getfacl adds for people: the effective rights.
        let entry = entry.split('#').next()?.trim();
        if entry.is_empty() {
            continue;
        }
        let entry = entry.strip_prefix("default:").unwrap_or(entry);
        let mut fields = entry.split(':');
        let (tag, name, rights) = (fields.next()?, fields.next()?, fields.next()?);
        let (tag, accounts): (u16, _) = match (tag, name) {
            ("user" | "u", "") => (0x01, None),
            ("user" | "u", _) => (0x02, Some("/etc/passwd")),
            ("group" | "g", "") => (0x04, None),
            ("group" | "g", _) => (0x08, Some("/etc/group")),
            ("mask" | "m", "") => (0x10, None),
            ("other" | "o", "") => (0x20, None),
            _ => return None,
        };
        let id = match accounts {
            None => NO_ID,
            // libarchive and star add the number of the account. It is what counts, as for owners.
            Some(file) => fields.next().unwrap_or(name).parse().ok().or_else(|| id_of(name, Path::new(file)))?,
        };
        let mut bits = 0u16;
        for right in rights.chars() {
            bits |= match right {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                '-' => 0,
                _ => return None,
            };
        }
        entries.push((tag, id, bits));
    }
    if entries.is_empty() {
        return None;
    }
    // The kernel wants them in this order.
    entries.sort_unstable();
    let mut acl = VERSION.to_vec();
    for (tag, id, bits) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(bits.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    Some(acl)
}

/// The number of an account, from a file of its kind.
fn id_of(name: &str, file: &Path) -> Option<u32> {
    let text = std::fs::read(file).ok()?;
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        (fields.next()? == name.as_bytes()).then(|| str::from_utf8(fields.nth(1)?).ok()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_text_of_any_program_or_nothing() {
        let minimal = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xd2\x04\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
        for text in [
            "user::rw-\nuser:1234:r--\ngroup::r--\nmask::r--\nother::---\n",
            "user::rw-,group::r--,other::---,user:nobody-knows:r--:1234,mask::r--",
            "user::rw-\nuser:1234:r--\t#effective:r--\ngroup::r--\nmask::r--\nother::---",
            "default:user::rw-\ndefault:user:1234:r--\ndefault:group::r--\ndefault:mask::r--\ndefault:other::---",
            "u::rw\nu:1234:r\ng::r\nm::r\no::",
        ] {
            assert_eq!(of_text(text.as_bytes()).as_deref(), Some(&minimal[..]), "{text}");
        }
        let root = of_text(b"user:root:r--\ngroup:root:r--").unwrap();
        assert_eq!(root, b"\x02\0\0\0\x02\0\x04\0\0\0\0\0\x08\0\x04\0\0\0\0\0");
        for text in
            ["", "\n", "user", "user::", "user::s--", "user:no such account:r--", "who::r--", "mask:1:r--", "\u{e4}"]
        {
            let wanted = (text == "user::").then_some(&b"\x02\0\0\0\x01\0\0\0\xff\xff\xff\xff"[..]);
            assert_eq!(of_text(text.as_bytes()).as_deref(), wanted, "{text}");
        }
        assert_eq!(of_text(b"\xff"), None);
    }
}
