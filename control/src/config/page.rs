//! Texts made from the declarations: the commented default file, the configuration in force, the reference page.

use super::form::quoted;
use super::keys::{Settings, TABLES_LATER};
use super::schema::TableDescription;

/// Columns of a comment in the default file.
const COMMENT_COLUMNS: usize = 100;

impl Settings {
    /// The configuration in force as TOML that reads back as the same settings, but for the secrets of keys: they are
    /// left out, and reading back says so.
    pub fn to_toml(&self) -> String {
        let tables = self.tables().into_iter().map(|(heading, values)| {
            let lines: Vec<String> = values.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
            format!("{heading}\n{}", lines.concat())
        });
        tables.collect::<Vec<_>>().join("\n")
    }
}

/// The default file: every key with its meaning. Tables that nothing can be the default of stand there as comments.
pub fn default_file() -> String {
    let mut text = String::new();
    comment(&mut text, "The configuration of ringdns. Every value below is the default.");
    comment(
        &mut text,
        "Sizes are strings (\"256MiB\"), times are strings (\"1s\", \"250ms\", \"1d\"). Relative paths are relative to \
         the folder of this file.",
    );
    for table in Settings::describe() {
        text.push('\n');
        comment(&mut text, &words(table.doc));
        // A table with a key that must be given cannot stand in the default file other than as an example.
        let example = table.keys.iter().any(|key| key.default.is_none());
        let mark = if example { "#" } else { "" };
        text.push_str(&format!("{mark}{}\n", table.heading));
        for key in &table.keys {
            comment(&mut text, &words(key.doc));
            comment(&mut text, &format!("Accepted: {}.", key.accepts));
            // In a table that stands as it is, so does the default.
            let value = key.default.filter(|_| !example).unwrap_or(key.sample);
            text.push_str(&format!("{mark}{} = {value}\n", key.name));
        }
    }
    text
}

/// The reference page in Markdown.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for table in Settings::describe() {
        page.push_str(&table_reference(&table));
    }
    page.push_str("\n## Not available yet\n\nThese tables have a meaning in a later version and are refused now: ");
    page.push_str(&TABLES_LATER.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "));
    page.push_str(".\n");
    page
}

const INTRODUCTION: &str = "# Configuration

<!-- Made from the declarations in control/src/config/keys.rs by `ringdns config --reference`. -->

One TOML file, given with `-c FILE`. Sizes are strings (`\"256MiB\"`), times are strings (`\"1s\"`, `\"250ms\"`,
`\"1d\"`), addresses are `\"IP:port\"`; relative paths are relative to the folder of the file. Unknown keys, wrong types and
values out of range are errors with line and column; `ringdns check -c FILE` shows them all.
`ringdns config --default` prints a commented file with every default, `ringdns config -c FILE` what is in force.

With no file, ringdns listens on 127.0.0.1:5300, serves the demonstration zone `example.test` and forwards all other names
to the name servers in /etc/resolv.conf.

A running server reads the file and the zones anew on SIGHUP. A file with mistakes changes nothing; a zone with mistakes
keeps what it served. Keys marked as needing a restart keep their values until then.
";

fn table_reference(table: &TableDescription) -> String {
    let mut page = format!("\n## `{}`\n\n{}\n", table.heading, words(table.doc));
    for key in &table.keys {
        let default = match key.default {
            Some(default) if default == key.sample => format!("default `{default}`"),
            Some(default) => format!("default `{default}`, for example `{}`", key.sample),
            None => format!("must be given, for example `{}`", key.sample),
        };
        page.push_str(&format!("\n### `{}`\n\n{}\n\n", key.name, words(key.doc)));
        page.push_str(&format!("- {default}\n- accepted: {}\n", key.accepts));
    }
    if !table.later.is_empty() {
        let later: Vec<String> = table.later.iter().map(|name| format!("`{name}`")).collect();
        page.push_str(&format!("\nNot available yet, and refused: {}.\n", later.join(", ")));
    }
    page
}

/// The text of doc comments as one line.
fn words(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Adds `sentence` as comment lines.
fn comment(text: &mut String, sentence: &str) {
    let mut column = COMMENT_COLUMNS;
    for word in sentence.split(' ') {
        if column + 1 + word.chars().count() > COMMENT_COLUMNS {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push('#');
            column = 1;
        }
        text.push(' ');
        text.push_str(word);
        column += 1 + word.chars().count();
    }
    text.push('\n');
}

/// The configuration that is built in, for a start without a file: a demonstration zone, and the system's own
/// `name_servers` for everything else.
pub(super) fn embedded(name_servers: &[std::net::IpAddr]) -> String {
    // It leaves no files behind.
    let mut text = String::from(
        "[cache]\npersist = false\n\n[[zone]]\nname = \"example.test\"\nfile = \"builtin:demonstration\"\n",
    );
    if !name_servers.is_empty() {
        let servers: Vec<String> =
            name_servers.iter().map(|ip| quoted(&format!("udp://{}", std::net::SocketAddr::new(*ip, 53)))).collect();
        text.push_str(&format!("\n[[upstream]]\nname = \"system\"\nservers = [{}]\n", servers.join(", ")));
        text.push_str("\n[[route]]\nsuffix = \".\"\nto = [\"system\"]\n");
    }
    text
}
