// SPDX-License-Identifier: GPL-3.0-or-later
//! The forms that strings in documents have: those that stay text. They end up in file names,
//! command lines and configuration files, so each says exactly which characters it allows.

use super::forms::Form;
use crate::bad_value::{BadValue, quoted};
use crate::files;
use crate::layers::Owner;
use crate::secrets::{Recipient, SshKey};

/// `text` if it `fits`; else what it is not and what to write.
pub(super) fn word(fits: bool, text: &str, what: &str, advice: &str) -> Result<String, BadValue> {
    match fits {
        true => Ok(text.to_owned()),
        false => Err(BadValue::new(
            format!("{} is no {what}", quoted(text)),
            advice,
        )),
    }
}

/// Whether `text` has one to `longest` characters, the first a lower-case letter or digit, all
/// letters, digits or of `others`.
fn is_word(text: &str, longest: usize, others: &str) -> bool {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= longest
        && text.starts_with(first)
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

/// Whether `text` is an absolute path in its shortest form, of visible ASCII characters that mean
/// nothing to shells, mount tables and account files.
fn is_absolute(text: &str) -> bool {
    let is_part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+@%".contains(c);
        !matches!(part, "" | "." | "..") && part.chars().all(allowed)
    };
    match text.strip_prefix('/') {
        Some("") => true,
        Some(rest) => text.len() <= 255 && rest.split('/').all(is_part),
        None => false,
    }
}

pub(super) const RELEASE_VERSION: Form<String> = Form {
    example: "2026.11",
    pattern: r"^[a-z0-9][A-Za-z0-9.+~-]{0,31}$",
    parse: |text| {
        let advice = "use letters, digits and .+~-, beginning with a digit or lower-case letter";
        let fits = is_word(text, 32, ".+~-");
        word(fits, text, "version of a release", advice)
    },
};

/// Debian Policy 5.6.7, without a version or architecture.
pub(super) const PACKAGE: Form<String> = Form {
    example: "iproute2",
    pattern: r"^[a-z0-9][a-z0-9+.-]+$",
    parse: |text| {
        let fits = text.len() >= 2 && is_word(text, 128, "+-.") && is_lower(text);
        let advice = "write its name alone, in lower case, as \"iproute2\"";
        word(fits, text, "name of a Debian package", advice)
    },
};

fn is_lower(text: &str) -> bool {
    !text.contains(|c: char| c.is_ascii_uppercase())
}

pub(super) const SUITE: Form<String> = Form {
    example: "trixie",
    pattern: r"^[a-z0-9][a-z0-9.-]*$",
    parse: |text| {
        let fits = is_word(text, 64, "-.") && is_lower(text);
        word(
            fits,
            text,
            "Debian suite",
            "write its code name, as \"trixie\"",
        )
    },
};

/// A component of Debian's archive (Debian Policy 2.2).
pub(super) const COMPONENT: Form<String> = Form {
    example: "non-free-firmware",
    pattern: r"^[a-z][a-z-]{0,31}$",
    parse: |text| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c == '-';
        let fits = text.len() <= 32
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(is_plain);
        let advice = "write contrib, non-free or non-free-firmware";
        word(fits, text, "component of Debian", advice)
    },
};

pub(super) const MIRROR: Form<String> = Form {
    example: "https://mirror.example.net/debian",
    pattern: r"^(https://|http://|file:/|copy:/)[!-~]*$",
    parse: |text| {
        let schemes = ["https://", "http://", "file:/", "copy:/"];
        let visible = text.chars().all(|c| c.is_ascii_graphic());
        let known = schemes.iter().any(|scheme| text.starts_with(scheme));
        let advice = "write a URL that begins with https://, http://, file:/ or copy:/";
        word(known && visible, text, "mirror's address", advice)
    },
};

pub(super) const SERIAL: Form<String> = Form {
    example: "8QXK2M3",
    pattern: r"^[!-~]([ -~]*[!-~])?$",
    parse: |text| {
        let visible = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
        let known = !text.trim().is_empty() && text.trim() == text && visible;
        let given = !NO_SERIALS.contains(&text.to_ascii_lowercase().as_str());
        let advice = "on the machine, read /sys/class/dmi/id/product_serial; many boards have \
                      none, so recognise those by dmi-uuid or mac";
        word(
            known && given && text.len() <= 64,
            text,
            "serial number",
            advice,
        )
    },
};

/// What boards have in lower case for a serial number that were given none.
const NO_SERIALS: [&str; 8] = [
    "to be filled by o.e.m.",
    "default string",
    "system serial number",
    "not specified",
    "not applicable",
    "none",
    "0",
    "0123456789",
];

pub(super) const DIRECTORY: Form<String> = Form {
    example: "/config/volumes",
    pattern: r"^(/[A-Za-z0-9._+@%-]+)+$",
    parse: |text| {
        let advice = "write an absolute path without . and .., as \"/config/volumes\"";
        word(
            text != "/" && is_absolute(text),
            text,
            "directory for volumes",
            advice,
        )
    },
};

/// lvm(8), "VALID NAMES".
pub(super) const VOLUME_GROUP: Form<String> = Form {
    example: "vg0",
    pattern: r"^[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,63}$",
    parse: |text| {
        let fits = (1..=64).contains(&text.len())
            && !matches!(text, "." | "..")
            && !text.starts_with('-')
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+_.-".contains(c));
        let advice = "use letters, digits and +_.-, as \"vg0\"";
        word(fits, text, "name of a volume group", advice)
    },
};

/// A volume of a host's pool: a logical volume (lvm(8), "VALID NAMES") or a file.
pub(super) const VOLUME: Form<String> = Form {
    example: "web-data",
    pattern: r"^[A-Za-z0-9][A-Za-z0-9+_.-]{0,126}$",
    parse: |text| {
        let fits = (1..=127).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+_.-".contains(c));
        let advice = "use letters, digits and +_.-, as \"web-data\"";
        word(fits, text, "name of a volume", advice)
    },
};

pub(super) const DEVICE: Form<String> = Form {
    example: "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4",
    pattern: r"^/dev/(disk/by-[a-z]+|mapper)(/[A-Za-z0-9._+@%:-]+)+$",
    parse: |text| {
        let stable = ["/dev/disk/by-", "/dev/mapper/"];
        let named = text.replace(':', "");
        let fits = is_absolute(&named) && stable.iter().any(|top| text.starts_with(top));
        let advice = "name it by what does not change from boot to boot, as \
                      \"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4\"; `ls -l /dev/disk/by-id` lists them";
        word(fits, text, "device that is found again", advice)
    },
};

pub(super) const MOUNT: Form<String> = Form {
    example: "/srv",
    pattern: r"^(/[A-Za-z0-9._+@%-]+)+$",
    parse: |text| {
        let within = |top: &&str| {
            let below = text.strip_prefix(top);
            below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        };
        let what = "place to mount a disk";
        match text {
            _ if !is_absolute(text) => {
                let advice = "write an absolute path without . and .., as \"/srv\"";
                word(false, text, what, advice)
            }
            "/" => word(
                false,
                text,
                what,
                "the root is the image's; write another, as \"/srv\"",
            ),
            _ if TAKEN.iter().any(within) => {
                let advice = format!("{} are taken; write another, as \"/srv\"", TAKEN.join(", "));
                word(false, text, what, &advice)
            }
            _ if HIDDEN.contains(&text) => {
                let advice = "it would hide what the image has there; write another, as \"/srv\"";
                word(false, text, what, advice)
            }
            _ => word(true, text, what, ""),
        }
    },
};

/// Directories in and below which a domU finds what is not a disk's.
const TAKEN: [&str; 6] = ["/etc", "/config", "/proc", "/sys", "/dev", "/run"];

/// Directories without which an image does not run.
const HIDDEN: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/var"];

pub(super) const FILES: Form<String> = Form {
    example: "web/",
    pattern: r"^[A-Za-z0-9._+@%-]+(/[A-Za-z0-9._+@%-]+)*/?$",
    parse: |text| {
        let path = text.strip_suffix('/').unwrap_or(text);
        let fits = !text.starts_with('/') && is_absolute(&format!("/{path}")) && !path.is_empty();
        let advice = "write a directory beside the recipe, without . and .., as \"web/\"";
        word(fits, path, "directory of files", advice)
    },
};

pub(super) const FOREIGN: Form<String> = Form {
    example: "debian.raw",
    parse: |text| {
        let fits = !text.starts_with('/') && is_absolute(&format!("/{text}"));
        let advice = "write a file beside the recipe, without . and .., as \"debian.raw\"";
        word(fits, text, "file beside the recipe", advice)
    },
    ..FILES
};

pub(super) const USER: Form<String> = Form {
    example: "www",
    pattern: r"^[a-z][a-z0-9_-]{0,31}$",
    parse: |text| {
        let fits = is_word(text, 32, "_-") && is_lower(text) && text != "root";
        let fits = fits && text.starts_with(|c: char| c.is_ascii_lowercase());
        let advice = "use a-z, 0-9, _ and -, at most 32 of them, a letter first; root is there";
        word(fits, text, "name for a user", advice)
    },
};

pub(super) const PATH: Form<String> = Form {
    example: "/bin/sh",
    pattern: r"^/([A-Za-z0-9._+@%-]+(/[A-Za-z0-9._+@%-]+)*)?$",
    parse: |text| {
        let advice = "write an absolute path without . and .., as \"/bin/sh\"";
        word(is_absolute(text), text, "absolute path", advice)
    },
};

/// systemd.unit(5).
pub(super) const UNIT: Form<String> = Form {
    example: "nginx.service",
    pattern: r"^[A-Za-z0-9][A-Za-z0-9:_.@\-]{0,254}$",
    parse: |text| {
        let fits = (1..=255).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c));
        word(
            fits,
            text,
            "systemd unit",
            "write its name, as \"nginx.service\"",
        )
    },
};

pub(super) const COMMAND: Form<String> = Form {
    example: "systemctl mask apt-daily.timer",
    pattern: r"^[^\x00]*[^\x00\s][^\x00]*$",
    parse: |text| {
        let fits = !text.trim().is_empty() && !text.contains('\0');
        word(fits, text, "command", "write a line for /bin/sh")
    },
};

/// Whether `text` is a path below a directory, in its shortest form.
fn is_relative(text: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    let is_text = !text.contains(char::is_control) && text.trim() == text;
    text.len() <= 1024 && is_text && text.split('/').all(is_part)
}

pub(super) const ETC_PATH: Form<String> = Form {
    example: "cron.daily/apt-compat",
    pattern: r"^[^/].*$",
    parse: |text| {
        let advice = match text.strip_prefix("/etc/").or(text.strip_prefix("etc/")) {
            Some(rest) if is_relative(rest) => format!("leave /etc out, as \"{rest}\""),
            _ => "write it relative to /etc, as \"cron.daily/apt-compat\"".to_owned(),
        };
        word(is_relative(text), text, "path below /etc", &advice)
    },
};

pub(super) const SECRET: Form<String> = Form {
    example: "wireguard/private.key.age",
    pattern: r"^[^/].*\.age$",
    parse: |text| {
        let stem = text.strip_suffix(files::SECRET).unwrap_or_default();
        let fits = is_relative(text) && !stem.is_empty() && !stem.ends_with('/');
        let advice =
            "write the file in etc/, which ends with .age, as \"wireguard/private.key.age\"";
        word(fits, text, "secret", advice)
    },
};

pub(super) const MODE: Form<u32> = Form {
    example: "0640",
    pattern: r"^[0-7]{3,4}$",
    parse: |text| {
        let is_octal = text.chars().all(|c| c.is_digit(8)) && (3..=4).contains(&text.len());
        match u32::from_str_radix(text, 8) {
            Ok(mode) if is_octal => Ok(mode),
            _ => {
                let problem = format!("{} is no mode of a file", quoted(text));
                Err(BadValue::new(
                    problem,
                    "write three or four octal digits, as \"0640\"",
                ))
            }
        }
    },
};

pub(super) const OWNER: Form<Owner> = Form {
    example: "root:ssl-cert",
    pattern: r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$",
    parse: str::parse,
};

/// Nobody has its private part.
const EXAMPLE_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBy/04APQQ0EpxOCz1U7/yLtiAZLNS7dOx+PtgRZDYaw";

pub(super) const SSH_KEY: Form<SshKey> = Form {
    example: EXAMPLE_KEY,
    pattern: r"^ssh-ed25519 [A-Za-z0-9+/]+=*( .*)?$",
    parse: str::parse,
};

pub(super) const RECIPIENT: Form<Recipient> = Form {
    example: EXAMPLE_KEY,
    pattern: r"^(ssh-ed25519 [A-Za-z0-9+/]+=*( .*)?|age1[0-9a-z]+)$",
    parse: str::parse,
};

pub(super) const REMOTE: Form<String> = Form {
    example: "https://git.example.net/fleet.git",
    pattern: r"^(https://|ssh://|file:///)[!-~]+$",
    parse: |text| {
        let schemes = ["https://", "ssh://", "file:///"];
        let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
        let fits = rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_graphic()));
        let server = rest.and_then(|rest| rest.split('/').next());
        let user = server.and_then(|server| server.rsplit_once('@'));
        let has_password = user.is_some_and(|(user, _)| user.contains(':'));
        let fits = fits && rest != Some("") && !has_password;
        let advice = "write a URL that begins with https://, ssh:// or file:///, without a \
                      password, as \"ssh://git@git.example.net/fleet.git\"";
        word(fits, text, "repository for hosts", advice)
    },
};

pub(super) const BRANCH: Form<String> = Form {
    example: "main",
    pattern: r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
    parse: |text| {
        // git-check-ref-format(1), and less.
        let known = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
        let fits = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.len() <= 200
            && text.chars().all(known)
            && !text.ends_with(['/', '.'])
            && !["..", "//", "/.", ".lock"]
                .iter()
                .any(|part| text.contains(part));
        word(fits, text, "branch", "write its name alone, as \"main\"")
    },
};
