//! The forms of what guards the control plane: its Unix socket, and the token of those who may change something.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use constant_time_eq::constant_time_eq;

use super::form::{Form, quoted};
use super::print::small_file;
use super::schema::{Found, Reader};

/// Octets of the path of a Unix socket: what the kernel takes, less the zero at its end.
const SOCKET_PATH_OCTETS_MAX: usize = 107;
/// Characters of a token at least: fewer are found by trying.
const TOKEN_OCTETS_MIN: usize = 16;
/// Characters of a token at most.
const TOKEN_OCTETS_MAX: usize = 1_024;
/// Octets of a file that holds a token: it and white space.
const TOKEN_FILE_OCTETS_MAX: u64 = 4_096;

/// The path of a Unix socket, or `""` for none.
pub(super) struct SocketPathForm;

impl Form for SocketPathForm {
    type Value = Option<PathBuf>;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Option<PathBuf>> {
        let path = match found.get_ref().as_str() {
            Some("") => return Some(None),
            Some(text) if !text.contains('\0') => reader.folder().join(text),
            _ => return reader.wrong(found, &self.accepts()),
        };
        let octets = path.as_os_str().len();
        if octets > SOCKET_PATH_OCTETS_MAX {
            let message = format!(
                "{} has {octets} octets; a Unix socket's path has {SOCKET_PATH_OCTETS_MAX} at most",
                path.display()
            );
            return reader.say(found, &message);
        }
        Some(Some(path))
    }

    fn accepts(&self) -> String {
        format!("the path of a Unix socket, {SOCKET_PATH_OCTETS_MAX} octets with its folder at most, or \"\" for none")
    }

    fn write(&self, value: &Option<PathBuf>) -> String {
        quoted(&value.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default())
    }
}

/// What those send who may change something (a bearer token, RFC 6750). It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// The token itself, to be sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this token. How long that takes tells nothing but its length.
    pub fn is(&self, given: &[u8]) -> bool {
        constant_time_eq(self.0.as_bytes(), given)
    }

    /// A token of the characters that RFC 6750 §2.1 allows. The error never repeats it.
    fn decode(text: &str) -> Result<Token, String> {
        let body = text.trim_end_matches('=');
        let is_allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~+/".contains(&octet);
        match text.len() {
            _ if body.is_empty() || !body.bytes().all(is_allowed) => Err("what stands there is no token".to_owned()),
            TOKEN_OCTETS_MIN..=TOKEN_OCTETS_MAX => Ok(Token(text.into())),
            octets => Err(format!("the token there has {octets} characters")),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// A file that holds a token, and the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    /// The file.
    pub path: PathBuf,
    /// What it held when it was read.
    pub token: Token,
}

impl TokenFile {
    /// Reads a file, as a client of the control plane does that is told of one.
    ///
    /// # Errors
    /// A line that names the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<TokenFile, String> {
        TokenFile::of(path.to_owned(), small_file(path, TOKEN_FILE_OCTETS_MAX))
    }

    fn of(path: PathBuf, text: io::Result<String>) -> Result<TokenFile, String> {
        let text = text.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        match Token::decode(text.trim_ascii()) {
            Ok(token) => Ok(TokenFile { path, token }),
            Err(why) => Err(format!("{}: {why}; accepted: {}", path.display(), TokenFileForm.accepts())),
        }
    }
}

/// The form of [`TokenFile`], or `""` for none.
pub(super) struct TokenFileForm;

impl Form for TokenFileForm {
    type Value = Option<TokenFile>;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Option<TokenFile>> {
        let path = match found.get_ref().as_str() {
            Some("") => return Some(None),
            Some(text) if !text.contains('\0') => reader.folder().join(text),
            _ => return reader.wrong(found, &self.accepts()),
        };
        let text = reader.file(path.clone(), TOKEN_FILE_OCTETS_MAX);
        match TokenFile::of(path, text) {
            Ok(file) => Some(Some(file)),
            Err(why) => reader.say(found, &why),
        }
    }

    fn accepts(&self) -> String {
        format!(
            "the path of a file with a token of {TOKEN_OCTETS_MIN} to {TOKEN_OCTETS_MAX} letters, digits and `-._~+/=`, \
             white space around it left aside, or \"\" for none"
        )
    }

    fn write(&self, value: &Option<TokenFile>) -> String {
        quoted(&value.as_ref().map(|file| file.path.to_string_lossy()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_can_be_sent_as_one_and_is_not_guessed() {
        for (text, why) in [
            ("", "no token"),
            ("================", "no token"),
            ("0123456789 abcdef", "no token"),
            ("0123456789abc=def", "no token"),
            ("0123456789abcdé", "no token"),
            ("0123456789abcde", "has 15 characters"),
            (&"a".repeat(TOKEN_OCTETS_MAX + 1), "has 1025 characters"),
        ] {
            assert!(Token::decode(text).is_err_and(|said| said.contains(why)), "{text}");
        }
        let token = Token::decode("0123456789-._~+/aB==").unwrap();
        assert!(token.is(b"0123456789-._~+/aB=="));
        assert!(!token.is(b"0123456789-._~+/aB=") && !token.is(b"0123456789-._~+/ab==") && !token.is(b""));
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn a_file_that_holds_no_token_is_named_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert!(TokenFile::read(&file).is_err_and(|said| said.contains("token cannot be read: No such file")));
        std::fs::write(&file, "short secret").unwrap();
        let said = TokenFile::read(&file).unwrap_err();
        assert!(said.contains("/token: what stands there is no token") && !said.contains("secret"), "{said}");
        std::fs::write(&file, "\n0123456789abcdef\n").unwrap();
        assert_eq!(TokenFile::read(&file).unwrap().token.as_str(), "0123456789abcdef");
    }
}
