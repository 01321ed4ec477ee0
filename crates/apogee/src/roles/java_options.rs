//! What people told the JVM of a stock server and still write into their compose files: some of it means something here.

/// Variables in which images and scripts take flags of the JVM. A stock image reads only the first two; the third is what
/// many write.
const VARIABLES: [&str; 3] = ["JAVA_OPT", "JAVA_OPT_EXT", "JAVA_OPTS"];

/// Flags that mean something here, each with the variable that it stands in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JavaOptions {
    /// `-Duser.home`: folder below which data and logs lie.
    pub home: Option<Told>,
    /// `-Drocketmq.namesrv.addr`: nameservers.
    pub nameservers: Option<Told>,
    /// `-Duser.timezone`: time zone.
    pub zone: Option<Told>,
    /// `-Xmx`: how much memory the operator gives it.
    pub heap: Option<Told>,
}

/// A value, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The value.
    pub value: String,
    /// The variable.
    pub variable: &'static str,
}

impl JavaOptions {
    /// Reads the variables of this process.
    pub fn of_environment() -> JavaOptions {
        JavaOptions::read(|name| std::env::var(name).ok())
    }

    /// Reads what `variable` gives for a name. A later flag counts, as for the JVM.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> JavaOptions {
        let mut options = JavaOptions::default();
        for name in VARIABLES {
            for flag in variable(name).unwrap_or_default().split_whitespace() {
                let Some((key, value)) = split(flag) else { continue };
                let field = match key {
                    "user.home" => &mut options.home,
                    "rocketmq.namesrv.addr" => &mut options.nameservers,
                    "user.timezone" => &mut options.zone,
                    HEAP => &mut options.heap,
                    _ => continue,
                };
                let value = value.trim_matches(['"', '\'']);
                if !value.is_empty() {
                    *field = Some(Told { value: value.to_owned(), variable: name });
                }
            }
        }
        options
    }

    /// The memory that the operator gives, in bytes; `None` where that is not said, or cannot be read.
    pub fn heap_bytes(&self) -> Option<u64> {
        let text = &self.heap.as_ref()?.value;
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let shift = match &*text[digits.len()..].to_ascii_lowercase() {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
    }
}

const HEAP: &str = "-Xmx";

/// Name and value of a flag that may mean something.
fn split(flag: &str) -> Option<(&str, &str)> {
    match flag.strip_prefix(HEAP) {
        Some(size) => Some((HEAP, size)),
        None => flag.strip_prefix("-D")?.split_once('='),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_tutorials_compose_file_are_understood() {
        let options = JavaOptions::read(|name| match name {
            "JAVA_OPTS" => Some(" -Duser.home=/opt -Duser.timezone=Asia/Tokyo".to_owned()),
            "JAVA_OPT_EXT" => Some("-server -Xms256m -Xmx256m -Xmn256m -Drocketmq.namesrv.addr=a:1;b:2".to_owned()),
            _ => None,
        });
        assert_eq!(options.home, Some(Told { value: "/opt".into(), variable: "JAVA_OPTS" }));
        assert_eq!(options.zone, Some(Told { value: "Asia/Tokyo".into(), variable: "JAVA_OPTS" }));
        assert_eq!(options.nameservers, Some(Told { value: "a:1;b:2".into(), variable: "JAVA_OPT_EXT" }));
        assert_eq!(options.heap_bytes(), Some(256 << 20));
        assert_eq!(
            JavaOptions::read(|_| Some("-Duser.home= -XX:+UseG1GC nonsense".to_owned())),
            JavaOptions::default()
        );
    }

    #[test]
    fn a_heap_is_told_in_units_of_the_jvm() {
        let bytes = |flags: &str| JavaOptions::read(|_| Some(flags.to_owned())).heap_bytes();
        let told = ["-Xmx1024", "-Xmx2k", "-Xmx3M", "-Xmx8g", "-Xmx1t", "-Xmx1g -Xmx2g"].map(bytes);
        let mib = |count: u64| Some(count << 20);
        assert_eq!(told, [Some(1024), Some(2048), mib(3), mib(8 << 10), mib(1 << 20), mib(2 << 10)]);
        for nothing in ["", "-Xms1g", "-Xmx", "-Xmx0", "-Xmxg", "-Xmx1x", "-Xmx1gg", "-Xmx99999999999999999g"] {
            assert_eq!(bytes(nothing), None, "{nothing}");
        }
    }
}
