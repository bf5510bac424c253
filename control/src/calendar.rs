//! The Gregorian calendar in UTC: days since the beginning of 1970 as dates, and back.

/// Days from 1 March of the year 0 to the beginning of 1970. Years are counted from March on, so that a leap day is the
/// last of its year.
const MARCH_0_TO_1970_DAYS: u64 = 719_468;
/// Days of 400 years, after which the calendar repeats itself.
const DAYS_400_YEARS: u64 = 146_097;

/// Year, month and day, so many days after the beginning of 1970.
pub fn date(days: u64) -> (u64, u64, u64) {
    let days = days + MARCH_0_TO_1970_DAYS;
    let (era, day_of_era) = (days / DAYS_400_YEARS, days % DAYS_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Days from the beginning of 1970 to a day; `None` where there is no such day, or it lies before.
pub fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let march_month = if month > 2 { month.checked_sub(3)? } else { month + 9 };
    let year_from_march = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (year_from_march / 400, year_from_march % 400);
    let day_of_year = (153 * march_month + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * DAYS_400_YEARS + day_of_era).checked_sub(MARCH_0_TO_1970_DAYS)?;
    // A day that does not exist comes back as another.
    (date(days) == (year, month, day)).then_some(days)
}
