//! Seconds since 1970 as a date in UTC, for the `;; WHEN` line and the times in RRSIG records. Reads no clock.

use ringdns_control::calendar::date;

/// A moment in UTC, in the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Utc {
    year: u64,
    /// 1 to 12.
    month: u64,
    /// 1 to 31.
    day: u64,
    /// 0 is Sunday.
    weekday: u64,
    /// Since midnight.
    second: u64,
}

impl Utc {
    /// The moment `seconds` after 1970-01-01T00:00:00, leap seconds not counted.
    pub(super) fn from_unix(seconds: u64) -> Utc {
        let days = seconds / 86_400;
        let (year, month, day) = date(days);
        Utc { year, month, day, weekday: (days + 4) % 7, second: seconds % 86_400 }
    }

    /// As `date` writes it: `Fri Nov 20 12:33:55 UTC 2026`.
    pub(super) fn long(self) -> String {
        const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let weekday = WEEKDAYS[self.weekday as usize];
        let month = MONTHS[self.month as usize - 1];
        let (hour, minute, second) = self.clock();
        format!("{weekday} {month} {:02} {hour:02}:{minute:02}:{second:02} UTC {}", self.day, self.year)
    }

    /// As RRSIG records carry it (RFC 4034 §3.2): `20261120123355`.
    pub(super) fn compact(self) -> String {
        let (hour, minute, second) = self.clock();
        format!("{:04}{:02}{:02}{hour:02}{minute:02}{second:02}", self.year, self.month, self.day)
    }

    fn clock(self) -> (u64, u64, u64) {
        (self.second / 3_600, self.second / 60 % 60, self.second % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_leap_days_and_centuries() {
        for (seconds, compact) in [
            (0, "19700101000000"),
            (951_782_399, "20000228235959"),
            (951_782_400, "20000229000000"),
            (951_868_800, "20000301000000"),
            (1_795_178_035, "20261120123355"),
            (4_107_542_400, "21000301000000"),
            (4_107_542_399, "21000228235959"),
            (u64::from(u32::MAX), "21060207062815"),
        ] {
            assert_eq!(Utc::from_unix(seconds).compact(), compact);
        }
        assert_eq!(Utc::from_unix(1_795_178_035).long(), "Fri Nov 20 12:33:55 UTC 2026");
        assert_eq!(Utc::from_unix(0).long(), "Thu Jan 01 00:00:00 UTC 1970");
    }
}
