//! `ublade.conf` as it goes into an image: read with the node's own parser first.
//!
//! A setting that the node will not use is said here, where the operator sits, and
//! not only on the console of a machine in another room.

use node::config::{Config, Source};
use node::media::CONF_BYTES_MAX;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What the ready-made images say.
pub const DEFAULT: &[u8] = include_bytes!("../ublade.conf");

/// Settings, and what the node will say about them.
#[derive(Clone, Debug)]
pub struct Conf {
    /// The file, as it is.
    pub bytes: Vec<u8>,
    /// One sentence for each setting that will not be used.
    pub warnings: Vec<String>,
}

impl Conf {
    /// The settings of the ready-made images.
    pub fn ready_made() -> Self {
        Self::of(DEFAULT.to_vec()).expect("a test reads it")
    }

    /// The settings in the file at `path`.
    pub fn read(path: &Path) -> Result<Self, String> {
        let mut bytes = Vec::new();
        // One byte more than may be, so that a device without an end ends, too.
        File::open(path)
            .and_then(|file| file.take(CONF_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Self::of(bytes).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn of(bytes: Vec<u8>) -> Result<Self, String> {
        if bytes.len() > CONF_BYTES_MAX {
            return Err(format!(
                "the node reads {} KiB of settings, and this file has more",
                CONF_BYTES_MAX >> 10
            ));
        }
        let mut config = Box::new(Config::new());
        config.parse(Source::File, &bytes);
        let warnings = config.problems().iter().map(ToString::to_string).collect();
        Ok(Self { bytes, warnings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_made_settings_allow_writing_and_nothing_in_them_is_refused() {
        let conf = Conf::ready_made();
        assert_eq!(conf.warnings, [""; 0]);
        let mut config = Config::new();
        config.parse(Source::File, &conf.bytes);
        assert_eq!(config.rw.source, Source::File);
    }

    #[test]
    fn every_line_that_is_commented_out_is_a_setting_that_the_node_takes() {
        let text = str::from_utf8(DEFAULT).unwrap();
        let examples: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| !line.starts_with(' ') && line.contains('='))
            .collect();
        assert!(examples.len() >= 5, "{examples:?}");
        for line in examples {
            let conf = Conf::of(line.as_bytes().to_vec()).unwrap();
            assert_eq!(conf.warnings, [""; 0], "{line}");
        }
    }

    #[test]
    fn a_setting_that_the_node_does_not_take_is_named_with_its_line() {
        let conf = Conf::of(b"# mine\ncache=maybe\nshelf=1\nfoo=bar\n".to_vec()).unwrap();
        assert_eq!(conf.warnings.len(), 2);
        assert!(conf.warnings[0].contains("line 2: cache=maybe"), "{conf:?}");
        assert!(conf.warnings[1].contains("line 4: foo=bar"), "{conf:?}");
    }

    #[test]
    fn a_file_at_the_limit_is_taken_and_one_byte_more_is_not() {
        let file = vec![b'#'; CONF_BYTES_MAX];
        assert!(Conf::of(file.clone()).is_ok());
        let error = Conf::of([file, vec![b'#']].concat()).unwrap_err();
        assert!(error.contains("16 KiB"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Conf::read(Path::new("no/such/file")).unwrap_err();
        assert!(error.contains("no/such/file"), "{error}");
    }
}
