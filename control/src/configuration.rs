//! The configuration in force, and what is told of it.

use std::ops::Deref;
use std::sync::OnceLock;

use axum::body::Bytes;

use crate::config::Settings;

/// The configuration in force. With thousands of zones its text is long: it is made when somebody asks for the first
/// time, and whoever asks then shares it.
#[derive(Debug)]
pub(crate) struct Configuration {
    settings: Settings,
    page: OnceLock<Bytes>,
}

impl Configuration {
    pub(crate) fn new(settings: Settings) -> Configuration {
        Configuration { settings, page: OnceLock::new() }
    }

    /// What `made` makes of the settings, which is called once; others wait for it.
    pub(crate) fn page(&self, made: impl FnOnce(&Settings) -> Bytes) -> Bytes {
        self.page.get_or_init(|| made(&self.settings)).clone()
    }
}

impl Deref for Configuration {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    #[test]
    fn a_page_is_made_once_and_shared() {
        let configuration = Configuration::new(config::parse("r.toml", "", Path::new("/")).unwrap());
        let first = configuration.page(|settings| settings.to_toml().into());
        let second = configuration.page(|_| unreachable!("there is one"));
        assert!(first.starts_with(b"[") && first.as_ptr() == second.as_ptr());
    }
}
