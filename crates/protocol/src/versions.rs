//! Names of the versions that peers report as numbers.
//!
//! Source: `common/.../MQVersion.java`, a list with two entries a version, snapshot and release, ten patches a minor and
//! ten minors a major version from 4.0 on.

/// Number of the release 4.0.0.
const V4_0_0: i32 = 213;
/// Number of the release 5.9.9, the last of the list.
const V5_9_9: i32 = 611;

/// `V5_5_0` for 513. Numbers after the list are `HIGHER_VERSION`, as upstream says; before 4.0 the list is irregular,
/// and the number is told.
pub fn name(number: i32) -> String {
    if number > V5_9_9 {
        return "HIGHER_VERSION".to_owned();
    }
    if number < V4_0_0 - 1 {
        return format!("V3({number})");
    }
    let from = number - (V4_0_0 - 1);
    let (patches, snapshot) = (from / 2, from % 2 == 0);
    let (major, minor, patch) = (4 + patches / 100, patches / 10 % 10, patches % 10);
    format!("V{major}_{minor}_{patch}{}", if snapshot { "_SNAPSHOT" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_names_of_the_list() {
        for (number, expected) in [
            (513, "V5_5_0"),
            (481, "V5_3_4"),
            (413, "V5_0_0"),
            (412, "V5_0_0_SNAPSHOT"),
            (409, "V4_9_8"),
            (317, "V4_5_2"),
            (611, "V5_9_9"),
            (612, "HIGHER_VERSION"),
            (121, "V3(121)"),
        ] {
            assert_eq!(name(number), expected);
        }
    }
}
