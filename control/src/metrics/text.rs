//! The older of the two formats of the page: the text format of Prometheus, version 0.0.4, made of OpenMetrics.

use std::fmt::Write;

/// The text format of an `OpenMetrics` page whose samples stand below a HELP and a TYPE line each: there a counter's
/// name is that of its samples, and nothing marks the end.
pub(super) fn of_open_metrics(page: &str) -> String {
    let mut text = String::with_capacity(page.len() + page.len() / 50);
    let mut help = None;
    for line in page.lines() {
        let said = line.strip_prefix("# HELP ").and_then(|said| said.split_once(' '));
        let kind = line.strip_prefix("# TYPE ").and_then(|said| said.split_once(' '));
        match (said, kind) {
            // Which name it is of, the next line says.
            (Some((_, meaning)), _) => help = Some(meaning),
            (_, Some((name, kind))) => {
                let suffix = if kind == "counter" { "_total" } else { "" };
                let meaning = help.take().unwrap_or_default();
                writeln!(text, "# HELP {name}{suffix} {meaning}\n# TYPE {name}{suffix} {kind}")
                    .expect("a string takes every write");
            }
            _ if line == "# EOF" => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_the_name_of_their_samples_and_the_end_is_the_end() {
        let page = "# HELP a_b What it is of.\n# TYPE a_b counter\na_b_total{x=\"# TYPE y counter\"} 3\n# HELP c Another.\n\
                    # TYPE c histogram\nc_sum 0.5\nc_count 1\nc_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let text = "# HELP a_b_total What it is of.\n# TYPE a_b_total counter\na_b_total{x=\"# TYPE y counter\"} 3\n\
                    # HELP c Another.\n# TYPE c histogram\nc_sum 0.5\nc_count 1\nc_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(of_open_metrics(page), text);
    }
}
