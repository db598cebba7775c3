//! Numbers for people to read.

/// Separates the thousands with commas.
pub fn grouped(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats three significant digits or more, and never an exponent.
pub fn significant(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => grouped(value.round() as u64),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.0995 => format!("{value:.2}"),
        size if size < 0.0005 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// Returns the unit to show a row's figures in, and the divisor. All figures of a row have one unit.
pub fn shown_in(unit: &str, greatest: f64) -> (String, f64) {
    match unit {
        "ns" if greatest >= 2e6 => ("ms".to_owned(), 1e6),
        "ns" if greatest >= 10e3 => ("µs".to_owned(), 1e3),
        "MiB/s" if greatest >= 10e3 => ("GiB/s".to_owned(), 1024.0),
        rate if rate.ends_with("/s") && greatest >= 10e6 => (format!("M {rate}"), 1e6),
        rate if rate.ends_with("/s") && greatest >= 10e3 => (format!("k {rate}"), 1e3),
        other => (other.to_owned(), 1.0),
    }
}

/// Formats a ratio; to three decimals where a limit near 1 decides.
pub fn times(ratio: f64, is_limit: bool) -> String {
    match ratio {
        ratio if is_limit && ratio < 9.995 => format!("{ratio:.3}"),
        ratio if ratio < 0.0995 => format!("{ratio:.3}"),
        ratio if ratio >= 99.5 => format!("{ratio:.0}"),
        ratio if ratio >= 9.95 => format!("{ratio:.1}"),
        _ => format!("{ratio:.2}"),
    }
}

/// Formats a label of an axis: 1, 10, 100, 1k, 10k, 1M.
pub fn short(value: f64) -> String {
    let (divisor, suffix) = match value {
        value if value >= 1e9 => (1e9, "G"),
        value if value >= 1e6 => (1e6, "M"),
        value if value >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let text = format!("{:.2}", value / divisor);
    format!("{}{suffix}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Formats an estimated duration.
pub fn about(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{:.0} s", seconds.max(1.0)),
        seconds if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_rounded() {
        assert_eq!(grouped(7u32), "7");
        assert_eq!(grouped(1234u32), "1,234");
        assert_eq!(grouped(10_000_000u32), "10,000,000");
        let values = [12_345.6, 234.4, 12.34, 3.876, 0.01234, 0.0, 99.97];
        assert_eq!(values.map(significant), ["12,346", "234", "12.3", "3.88", "0.012", "0", "100"]);
        assert_eq!([1.0, 1000.0, 13_000.0, 2.5e6].map(short), ["1", "1k", "13k", "2.5M"]);
        assert_eq!(
            [0.954, 1.5, 12.34, 123.4].map(|ratio| times(ratio, false)),
            ["0.95", "1.50", "12.3", "123"]
        );
        assert_eq!(times(1.0492, true), "1.049");
        assert_eq!([20.0, 600.0].map(about), ["20 s", "10 min"]);
    }

    #[test]
    fn a_row_has_one_unit() {
        assert_eq!(shown_in("ns", 3999.0), ("ns".to_owned(), 1.0));
        assert_eq!(shown_in("ns", 39_990.0), ("µs".to_owned(), 1e3));
        assert_eq!(shown_in("jobs/s", 2e7), ("M jobs/s".to_owned(), 1e6));
        assert_eq!(shown_in("bytes", 2e7), ("bytes".to_owned(), 1.0));
    }
}
