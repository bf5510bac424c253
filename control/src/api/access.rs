//! Who may change something.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use axum::http::{HeaderMap, header};

use crate::config::Token;

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// An address, which everybody on this machine reaches.
    Address,
    /// The Unix socket, which only those reach whom its file lets in.
    Socket,
}

/// The token in force, and how many came without it.
#[derive(Debug, Default)]
pub(crate) struct Access {
    token: RwLock<Option<Token>>,
    refused: AtomicU64,
}

const NO_TOKEN_SET: &str = "this changes the server: set `token_file` in [control] and send the token, or set `socket` \
                            in [control] and ask there";
const NO_TOKEN_SENT: &str = "this changes the server: send the token of `token_file` in [control] as \
                             `Authorization: Bearer TOKEN`, or ask at the Unix socket (`socket` in [control])";
const WRONG_TOKEN: &str = "the token is not the one of `token_file` in [control]: send that, or ask at the Unix socket \
                           (`socket` in [control])";

impl Access {
    /// From now on this is the token; without one, only the socket lets changes in.
    pub(crate) fn set_token(&self, token: Option<Token>) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Requests that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether a request with these headers may change something; why not, and the mend.
    pub(super) fn allow(&self, door: Door, headers: &HeaderMap) -> Result<(), &'static str> {
        let why = match (door, &*self.token.read().unwrap_or_else(PoisonError::into_inner), bearer(headers)) {
            (Door::Socket, ..) => return Ok(()),
            (Door::Address, None, _) => NO_TOKEN_SET,
            (Door::Address, Some(_), None) => NO_TOKEN_SENT,
            (Door::Address, Some(token), Some(sent)) if token.is(sent) => return Ok(()),
            (Door::Address, Some(_), Some(_)) => WRONG_TOKEN,
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(why)
    }
}

/// The token that was sent (RFC 6750 §2.1). Where several were, none counts.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (sent.next(), sent.next()) else { return None };
    let (scheme, token) = only.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::config::TokenFile;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn changes_need_the_token_or_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "0123456789abcdef").unwrap();
        let access = Access::default();
        let right = headers(&["bearer 0123456789abcdef"]);
        assert_eq!(access.allow(Door::Address, &right), Err(NO_TOKEN_SET));
        assert_eq!(access.allow(Door::Socket, &headers(&[])), Ok(()));
        access.set_token(Some(TokenFile::read(&file).unwrap().token));
        assert_eq!(access.allow(Door::Address, &right), Ok(()));
        assert_eq!(access.allow(Door::Socket, &headers(&["Bearer x"])), Ok(()));
        for (values, why) in [
            (&[][..], NO_TOKEN_SENT),
            (&["Basic 0123456789abcdef"], NO_TOKEN_SENT),
            (&["0123456789abcdef"], NO_TOKEN_SENT),
            (&["Bearer"], NO_TOKEN_SENT),
            (&["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"], NO_TOKEN_SENT),
            (&["Bearer "], WRONG_TOKEN),
            (&["Bearer 0123456789abcdeg"], WRONG_TOKEN),
            (&["Bearer 0123456789abcdef0"], WRONG_TOKEN),
        ] {
            assert_eq!(access.allow(Door::Address, &headers(values)), Err(why), "{values:?}");
        }
        assert_eq!(access.refused(), 9);
        access.set_token(None);
        assert_eq!(access.allow(Door::Address, &right), Err(NO_TOKEN_SET));
    }
}
