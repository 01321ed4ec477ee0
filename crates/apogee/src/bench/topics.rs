//! Names of the topics under load.

/// One topic, or several whose names differ in a number of fixed width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
    count: u32,
    digits: usize,
}

impl Topics {
    /// One topic.
    pub fn one(name: &str) -> Topics {
        Topics { prefix: name.to_owned(), count: 1, digits: 0 }
    }

    /// `prefix-00`, `prefix-01`, …: `count` of them.
    pub fn numbered(prefix: &str, count: u32) -> Topics {
        let digits = count.saturating_sub(1).to_string().len();
        Topics { prefix: format!("{prefix}-"), count, digits }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Digits at the end of every name that differ.
    pub fn digits(&self) -> usize {
        self.digits
    }

    /// The name of a topic, by its number.
    pub fn name(&self, number: u32) -> String {
        match self.digits {
            0 => self.prefix.clone(),
            digits => format!("{}{number:0digits$}", self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_of_one_width() {
        let topics = Topics::numbered("t", 11);
        assert_eq!((topics.name(0), topics.name(10), topics.digits()), ("t-00".into(), "t-10".into(), 2));
        assert_eq!((Topics::one("t").name(0), Topics::one("t").digits()), ("t".into(), 0));
    }
}
