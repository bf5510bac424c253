//! What a server's wire looks like: whether it knows EDNS, keeps the case of names, gives cookies.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ring::hmac;
use smallvec::SmallVec;

use crate::time::Time;

/// A cookie option's content: our cookie, and the server's where there is one (RFC 7873 §4).
pub type CookieOption = SmallVec<[u8; CLIENT_OCTETS + SERVER_OCTETS_MAX]>;

/// Octets of a client cookie.
const CLIENT_OCTETS: usize = 8;
/// Octets of a server cookie.
const SERVER_OCTETS_MIN: usize = 8;
const SERVER_OCTETS_MAX: usize = 32;

/// How long a server is asked without what it does not know, before that is tried again.
const WITHOUT: Duration = Duration::from_hours(1);
/// Replies in other case over UDP after which a server that was never seen to keep case is asked without.
const CASE_CHANGES: u8 = 3;
/// A client cookie is used for so long (RFC 7873 §7.1 recommends a day).
const COOKIE_LIFE: Duration = Duration::from_hours(24);

/// What is known of one server's wire.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// Asked without EDNS until then.
    plain_until: Option<Time>,
    case: Case,
    cookie: Option<Cookie>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Case {
    #[default]
    Unknown,
    /// Not seen to keep it, and so many replies came in other case.
    Changed(u8),
    /// Seen to keep it.
    Keeps,
    /// Asked in lower case until then.
    Lower(Time),
}

#[derive(Clone, Copy, Debug)]
struct Cookie {
    /// Ours.
    client: [u8; CLIENT_OCTETS],
    /// Of which day it is.
    day: u64,
    server: [u8; SERVER_OCTETS_MAX],
    server_octets: u8,
}

impl Habits {
    /// Whether it is asked with EDNS.
    pub fn edns(&self, now: Time) -> bool {
        self.plain_until.is_none_or(|until| now >= until)
    }

    /// It answered FORMERR, NOTIMP or BADVERS with EDNS, and otherwise without: it is asked without for an hour.
    pub fn refuses_edns(&mut self, now: Time) {
        self.plain_until = Some(now + WITHOUT);
    }

    /// Whether names are asked in random case over UDP, and a reply must have the same case.
    pub fn mixes_case(&self, now: Time) -> bool {
        !matches!(self.case, Case::Lower(until) if now < until)
    }

    /// A reply had the case of the query, in which at least one letter was upper case.
    pub fn case_kept(&mut self) {
        self.case = Case::Keeps;
    }

    /// A reply that was otherwise right had other case. Over UDP that may be a forger's: who was ever seen to keep case
    /// is asked with it on, and others until it has happened three times. Over TCP it is the server's own word: it is
    /// asked in lower case for an hour.
    pub fn case_changed(&mut self, now: Time, over_tcp: bool) {
        self.case = match self.case {
            _ if over_tcp => Case::Lower(now + WITHOUT),
            Case::Keeps => Case::Keeps,
            Case::Changed(times) if times + 1 >= CASE_CHANGES => Case::Lower(now + WITHOUT),
            Case::Changed(times) => Case::Changed(times + 1),
            Case::Unknown | Case::Lower(_) => Case::Changed(1),
        };
    }

    /// The content of the cookie option of a query; `None` for a server that is gone, or was
    /// never asked.
    pub fn cookie_option(&self) -> Option<CookieOption> {
        let cookie = self.cookie.as_ref()?;
        let mut option = CookieOption::from_slice(&cookie.client);
        option.extend_from_slice(cookie.server());
        Some(option)
    }

    /// Whether it has given a cookie: then a reply without one is forged, or the server no longer has them.
    pub fn has_server_cookie(&self) -> bool {
        self.cookie.as_ref().is_some_and(|cookie| cookie.server_octets > 0)
    }

    /// Keeps the server cookie out of the cookie option of a reply. `false`, and nothing is kept, where the option is
    /// not to our cookie in use, or has no server cookie of 8 to 32 octets.
    pub fn take_cookie(&mut self, option: &[u8]) -> bool {
        let Some((client, server)) = option.split_first_chunk::<CLIENT_OCTETS>() else { return false };
        let Some(cookie) = self.cookie.as_mut().filter(|cookie| cookie.client == *client) else { return false };
        if !(SERVER_OCTETS_MIN..=SERVER_OCTETS_MAX).contains(&server.len()) {
            return false;
        }
        cookie.server[..server.len()].copy_from_slice(server);
        cookie.server_octets = server.len() as u8;
        true
    }

    /// Forgets the server's cookie: it said over TCP that it has none.
    pub fn forget_cookie(&mut self) {
        if let Some(cookie) = &mut self.cookie {
            cookie.server_octets = 0;
        }
    }

    /// Sees to it that our cookie is of today. The server's was given to the former, and goes with it.
    pub(super) fn renew_cookie(&mut self, secret: &hmac::Key, server: SocketAddr, now: Time) {
        let day = now.as_secs() / COOKIE_LIFE.as_secs();
        if self.cookie.is_none_or(|cookie| cookie.day != day) {
            let client = client_cookie(secret, server, day);
            self.cookie = Some(Cookie { client, day, server: [0; SERVER_OCTETS_MAX], server_octets: 0 });
        }
    }
}

impl Cookie {
    fn server(&self) -> &[u8] {
        &self.server[..usize::from(self.server_octets)]
    }
}

/// Our cookie for a server: nobody without the secret can tell it, and that of one server says nothing of another's
/// (RFC 7873 §4.1, RFC 9018 §3). HMAC-SHA-256 serves, since nobody else must be able to make the same.
fn client_cookie(secret: &hmac::Key, server: SocketAddr, day: u64) -> [u8; CLIENT_OCTETS] {
    let mut context = hmac::Context::with_key(secret);
    match server.ip() {
        IpAddr::V4(address) => context.update(&address.octets()),
        IpAddr::V6(address) => context.update(&address.octets()),
    }
    context.update(&server.port().to_be_bytes());
    context.update(&day.to_be_bytes());
    *context.sign().as_ref().first_chunk().expect("a tag has 32 octets")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1_000);

    fn with_cookie(port: u16, now: Time) -> Habits {
        let mut habits = Habits::default();
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"unknown to others");
        habits.renew_cookie(&secret, ([192, 0, 2, 1], port).into(), now);
        habits
    }

    #[test]
    fn edns_is_left_out_for_an_hour() {
        let mut habits = Habits::default();
        assert!(habits.edns(NOW));
        habits.refuses_edns(NOW);
        assert!(!habits.edns(NOW) && !habits.edns(Time::from_secs(4_599)));
        assert!(habits.edns(Time::from_secs(4_600)));
    }

    #[test]
    fn case_is_given_up_by_three_replies_or_by_tcp_unless_it_was_kept() {
        let mut habits = Habits::default();
        for _ in 0..3 {
            assert!(habits.mixes_case(NOW));
            habits.case_changed(NOW, false);
        }
        assert!(!habits.mixes_case(NOW) && habits.mixes_case(Time::from_secs(4_600)));
        let mut keeps = Habits::default();
        keeps.case_changed(NOW, false);
        keeps.case_kept();
        for _ in 0..100 {
            keeps.case_changed(NOW, false);
        }
        assert!(keeps.mixes_case(NOW), "datagrams do not talk it out of case");
        keeps.case_changed(NOW, true);
        assert!(!keeps.mixes_case(NOW));
    }

    #[test]
    fn cookies_are_of_one_server_and_one_day() {
        let (mut a, b) = (with_cookie(53, NOW), with_cookie(54, NOW));
        let client = a.cookie_option().unwrap();
        assert_eq!(client.len(), 8);
        assert_ne!(Some(&client), b.cookie_option().as_ref());
        assert!(!a.has_server_cookie());

        let reply = [&client[..], &[7; 16]].concat();
        assert!(a.take_cookie(&reply) && a.has_server_cookie());
        assert_eq!(a.cookie_option().unwrap()[..], reply);
        for octets in [0, 1, 7, 33, 100] {
            assert!(!a.take_cookie(&[&client[..], &vec![9; octets]].concat()), "{octets}");
        }
        assert!(!a.take_cookie(&[&[1; 8][..], &[9; 8]].concat()), "to a cookie that is not ours");
        assert_eq!(a.cookie_option().unwrap()[..], reply, "what is refused changes nothing");

        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"unknown to others");
        let tomorrow = NOW + COOKIE_LIFE;
        a.renew_cookie(&secret, ([192, 0, 2, 1], 53).into(), tomorrow);
        let other = a.cookie_option().unwrap();
        assert!(other.len() == 8 && other != client, "the server's cookie goes with ours");
        assert!(!a.take_cookie(&reply), "a reply to the former was on its way");
        a.take_cookie(&[&other[..], &[8; 32]].concat());
        a.renew_cookie(&secret, ([192, 0, 2, 1], 53).into(), tomorrow);
        assert_eq!(a.cookie_option().unwrap().len(), 40, "the same day, the same cookies");
        a.forget_cookie();
        assert_eq!(a.cookie_option(), Some(other));
    }

    #[test]
    fn who_was_never_asked_has_no_cookie() {
        let mut nobody = Habits::default();
        assert_eq!(nobody.cookie_option(), None);
        assert!(!nobody.take_cookie(&[0; 16]) && !nobody.has_server_cookie());
    }
}
