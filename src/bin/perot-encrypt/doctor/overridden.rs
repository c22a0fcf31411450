//! Finds settings that are written twice, where the later line takes away what the earlier one says.

use super::configuration::{words, Configuration, Era};
use super::plugins::{MAIL, SIEVE};
use super::report::Finding;
use super::written::Setting;

/// Returns true for lists of plugins, and for settings that name a script.
fn matters(setting: &Setting) -> bool {
    let name = setting.name.as_str();
    let block = setting.blocks.last().map(String::as_str).unwrap_or_default();
    is_list(name) || name.starts_with("sieve_before") || (block.starts_with("sieve_script ") && is_path(name))
}

fn is_list(name: &str) -> bool {
    matches!(name, "mail_plugins" | "sieve_plugins")
}

fn is_path(name: &str) -> bool {
    matches!(name, "path" | "sieve_script_path")
}

/// Returns a finding for each setting that a later line replaces, if something is lost by it.
pub fn look(configuration: &Configuration) -> Vec<Finding> {
    let settings: Vec<&Setting> = configuration.written.settings.iter().filter(|s| matters(s)).collect();
    let mut findings = Vec::new();
    for (i, earlier) in settings.iter().enumerate() {
        let same = |later: &&&Setting| later.name == earlier.name && later.blocks == earlier.blocks;
        let Some(later) = settings[i + 1..].iter().find(same) else { continue };
        let lost = lost(earlier, later, configuration.era);
        if !lost.is_empty() {
            findings.push(finding(configuration, earlier, later, &lost));
        }
    }
    findings
}

/// Returns the values that the earlier line has and the later one has not.
fn lost(earlier: &Setting, later: &Setting, era: Era) -> Vec<String> {
    if !is_list(&earlier.name) {
        let differs = earlier.value != later.value && !earlier.value.is_empty();
        return if differs { vec![earlier.value.clone()] } else { Vec::new() };
    }
    let kept = words(&later.value);
    let own_name = format!("${}", later.name);
    // In 2.3 `$mail_plugins` stands for the list as it is outside the block, or so far.
    if era == Era::V23 && earlier.blocks.is_empty() && kept.contains(&own_name) {
        return Vec::new();
    }
    words(&earlier.value).into_iter().filter(|word| !word.starts_with('$') && !kept.contains(word)).collect()
}

fn finding(configuration: &Configuration, earlier: &Setting, later: &Setting, lost: &[String]) -> Finding {
    let name = &later.name;
    let what = format!("{name} is set in {} and again in {}", earlier.place, later.place);
    let why = format!("the later one replaces the earlier one: {} is lost", lost.join(" "));
    if !is_list(name) {
        let further = "(it is the one that counts; name further scripts sieve_before2, sieve_before3 ...)";
        let text = format!("{name} = {}   {further}", earlier.value);
        return Finding::problem(what, why).write(later.place.clone(), text);
    }
    let all: Vec<String> = words(&later.value).into_iter().chain(lost.iter().cloned()).collect();
    let text = format!("{name} = {}", all.join(" "));
    let problem = lost.iter().any(|word| is_missing(configuration, later, word));
    Finding { problem, ..Finding::problem(what, why) }.write(later.place.clone(), text)
}

/// Returns true if the word is a plugin that encryption needs, and is not loaded now.
fn is_missing(configuration: &Configuration, later: &Setting, word: &str) -> bool {
    let mut protocols = later.blocks.iter().filter_map(|block| block.strip_prefix("protocol "));
    let protocol = protocols.next_back().unwrap_or("lmtp");
    let loaded = match later.name.as_str() {
        "mail_plugins" => configuration.mail_plugins(protocol),
        _ => configuration.sieve_plugins(protocol),
    };
    [MAIL, SIEVE, "sieve"].contains(&word) && !loaded.iter().any(|name| name == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, value: &str) -> Setting {
        let (blocks, place) = (Vec::new(), super::super::written::Place::default());
        Setting { place, blocks, name: name.into(), value: value.into() }
    }

    #[test]
    fn what_a_later_line_takes_away() {
        let lost = |name: &str, earlier: &str, later: &str| {
            lost(&setting(name, earlier), &setting(name, later), Era::V23)
        };
        assert_eq!(lost("sieve_plugins", "sieve_perot_encrypt a", "a b"), ["sieve_perot_encrypt"]);
        assert_eq!(lost("sieve_plugins", "a", "a sieve_perot_encrypt"), [""; 0]);
        assert_eq!(lost("mail_plugins", "perot_encrypt", "$mail_plugins sieve"), [""; 0]);
        assert_eq!(lost("mail_plugins", "$mail_plugins perot_encrypt", "sieve"), ["perot_encrypt"]);
        assert_eq!(lost("sieve_before", "/a", "/b"), ["/a"]);
        assert_eq!(lost("sieve_before", "/a", "/a"), [""; 0]);
    }
}
