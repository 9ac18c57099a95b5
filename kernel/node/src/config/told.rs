//! Who said what, and what was wrong with it.

use super::grammar::Form;
use core::fmt;
use io::Text;

/// Where a setting came from. Parse in this order: the last one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Built in.
    Default,
    /// A DHCP server: harmless keys only.
    Dhcp,
    /// `ublade.conf` on a FAT volume.
    File,
    /// What was saved by API or console, on the boot disk.
    Saved,
    /// SMBIOS type 11 strings.
    Smbios,
    /// QEMU's fw_cfg.
    FwCfg,
    /// The kernel command line.
    CommandLine,
    /// Set while the node runs; gone with it unless it is saved.
    Live,
}

impl Source {
    pub(super) const fn form(self) -> Form {
        match self {
            Self::CommandLine => Form::Words,
            _ => Form::Lines,
        }
    }

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Dhcp => "DHCP",
            Self::File => "ublade.conf",
            Self::Saved => "saved",
            Self::Smbios => "SMBIOS",
            Self::FwCfg => "fw_cfg",
            Self::CommandLine => "command line",
            Self::Live => "set",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is shown of a token: it is a secret.
pub const HIDDEN: &str = "(hidden)";

/// A setting as somebody wrote it, and who that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The key.
    pub key: Text<32>,
    /// The value as written, cut where it is long.
    pub text: Text<48>,
    /// Which channel.
    pub source: Source,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} ({})", self.key, self.text, self.source)
    }
}

/// A setting that could not be used as it was written. `Display` is a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key.
    pub key: Text<32>,
    /// The value as written, cut where it is long.
    pub text: Text<48>,
    /// Which channel.
    pub source: Source,
    /// Which byte of the command line, or which line elsewhere; from 1.
    pub at: u32,
    /// What is wrong.
    pub complaint: Complaint,
}

/// What is wrong with a setting. The texts go on after `key=value: `.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// There is no such key.
    UnknownKey,
    /// The key may not come through this channel.
    NotFromHere,
    /// The value cannot be used; the one before it stays.
    Bad(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.source.form() {
            Form::Words => "byte",
            Form::Lines => "line",
        };
        write!(f, "{}, {unit} {}: ", self.source, self.at)?;
        write!(f, "{}={}: ", self.key, self.text)?;
        match self.complaint {
            Complaint::UnknownKey => f.write_str("no such setting; it has no effect"),
            Complaint::NotFromHere => f.write_str("not taken from here; it has no effect"),
            Complaint::Bad(what) => write!(f, "{what}; not used"),
        }
    }
}
