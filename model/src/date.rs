// SPDX-License-Identifier: GPL-3.0-or-later
//! Days of the calendar, for what carries a time.

/// The day that is so many seconds after 1970 began (UTC), as `2026-11-21`.
pub fn day(seconds: i64) -> String {
    // Years begin in March here, so that the day of a leap year is the last (H. Hinnant,
    // "chrono-compatible low-level date algorithms").
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (1_077_926_399, "2004-02-27"),
            (4_107_542_400, "2100-03-01"),
            (1_795_219_200, "2026-11-21"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(super::day(seconds), expected, "{seconds}");
        }
    }
}
