//! What the console says, in each of its languages. A text that lacks one of them does not compile.

mod activity;
mod doctor;
mod members;
mod messages;
mod operations;
mod overview;
mod scheduled;
mod shell;
mod tail;
mod tokens;
mod topics;

/// A language of the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// All of them.
    pub const ALL: [Language; 2] = [Language::English, Language::Chinese];

    /// As HTML and cookies name it.
    pub fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Chinese => "zh",
        }
    }

    /// In its own words.
    pub fn own_name(self) -> &'static str {
        match self {
            Language::English => "English",
            Language::Chinese => "中文",
        }
    }

    /// The language of that code.
    pub fn of_code(code: &str) -> Option<Language> {
        Language::ALL.into_iter().find(|language| language.code() == code)
    }

    /// The language that a browser likes best of ours, by its `Accept-Language`.
    pub fn accepted(header: &str) -> Language {
        let weight = |item: &str| -> f32 {
            let given = item.split(';').find_map(|part| part.trim().strip_prefix("q="));
            given.map_or(1.0, |text| text.trim().parse().unwrap_or(0.0))
        };
        let mut best = (0.0, Language::English);
        for item in header.split(',') {
            let name = item.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let Some(language) = Language::of_code(name.split('-').next().unwrap_or_default()) else { continue };
            if best.0 < weight(item) {
                best = (weight(item), language);
            }
        }
        best.1
    }
}

/// Declares texts: a name, and what it says in English and in Chinese. `{}` stands for a value, see [`fill`].
macro_rules! texts {
    ($($name:ident: $english:literal, $chinese:literal;)*) => {
        impl $crate::language::Language {
            $(pub fn $name(self) -> &'static str {
                match self {
                    $crate::language::Language::English => $english,
                    $crate::language::Language::Chinese => $chinese,
                }
            })*
        }

        /// Name, English, Chinese.
        #[cfg(test)]
        pub(super) const TABLE: &[(&str, &str, &str)] = &[$((stringify!($name), $english, $chinese)),*];
    };
}
use texts;

/// Puts values where a text says `{}`, one after the other.
pub fn fill(text: &str, values: &[&dyn std::fmt::Display]) -> String {
    let mut filled = String::with_capacity(text.len() + 16);
    let mut values = values.iter();
    let mut parts = text.split("{}");
    filled.push_str(parts.next().unwrap_or_default());
    for part in parts {
        if let Some(value) = values.next() {
            filled.push_str(&value.to_string());
        }
        filled.push_str(part);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_says_something_in_both_languages_with_the_same_places_for_values() {
        let tables = [
            activity::TABLE,
            doctor::TABLE,
            members::TABLE,
            messages::TABLE,
            operations::TABLE,
            overview::TABLE,
            scheduled::TABLE,
            shell::TABLE,
            tail::TABLE,
            tokens::TABLE,
            topics::TABLE,
        ];
        for (name, english, chinese) in tables.into_iter().flatten() {
            assert!(!english.trim().is_empty() && !chinese.trim().is_empty(), "{name} is empty");
            assert_eq!(english.matches("{}").count(), chinese.matches("{}").count(), "{name}");
        }
    }

    #[test]
    fn the_browser_says_which_language_it_likes_best() {
        let check = |header, expected| assert_eq!(Language::accepted(header), expected, "{header}");
        check("", Language::English);
        check("de-DE,de;q=0.9", Language::English);
        check("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese);
        check("en;q=0.5, zh;q=0.7", Language::Chinese);
        check("en-GB,zh;q=0.9", Language::English);
        check("zh;q=nonsense", Language::English);
    }

    #[test]
    fn values_are_put_in_their_places() {
        assert_eq!(fill("{} of {} brokers", &[&1, &3]), "1 of 3 brokers");
        assert_eq!(fill("no place", &[&1]), "no place");
        assert_eq!(fill("{} and {}", &[&"{}"]), "{} and ");
    }
}
