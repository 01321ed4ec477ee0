//! Where data lies when nobody names a folder.

use std::path::{Path, PathBuf};

use super::java_options::JavaOptions;

/// Folders in which images of stock brokers keep their data, and people mount theirs.
const MOUNT_POINTS: [&str; 4] = ["/home/rocketmq/store", "/opt/store", "/root/store", "/data"];

/// A folder, and why it is that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    /// The folder.
    pub path: PathBuf,
    /// Why, unless it is simply the default.
    pub reason: Option<String>,
}

/// The folder for this process: that of `-Duser.home` in the variables for the JVM; in a container one that is mounted, or
/// `$HOME/store`; elsewhere `./data`.
pub fn default() -> DataDir {
    let java = JavaOptions::of_environment();
    // Elsewhere a disk that is mounted there belongs to others.
    if !is_in_container() {
        return choose(&java, "", None);
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    choose(&java, &mounts, std::env::var_os("HOME").map(PathBuf::from))
}

/// Whether a container engine says that it runs this process.
pub fn is_in_container() -> bool {
    let files = ["/.dockerenv", "/run/.containerenv"];
    files.iter().any(|file| Path::new(file).exists()) || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

fn choose(java: &JavaOptions, mounts: &str, home_in_container: Option<PathBuf>) -> DataDir {
    if let Some(home) = &java.home {
        let reason = format!("-Duser.home in {}", home.variable);
        return DataDir { path: Path::new(&home.value).join("store"), reason: Some(reason) };
    }
    // The fifth field of a line is the mount point.
    let is_mounted = |folder: &&&str| mounts.lines().any(|line| line.split(' ').nth(4) == Some(folder));
    if let Some(folder) = MOUNT_POINTS.iter().find(is_mounted) {
        return DataDir { path: folder.into(), reason: Some("it is mounted".to_owned()) };
    }
    match home_in_container {
        Some(home) => {
            let reason = format!("nothing is mounted at {}, so it goes with the container", MOUNT_POINTS.join(", "));
            DataDir { path: home.join("store"), reason: Some(reason) }
        }
        None => DataDir { path: super::DEFAULT_DATA_DIR.into(), reason: None },
    }
}

#[cfg(test)]
mod tests {
    use super::super::java_options::Told;
    use super::*;

    #[test]
    fn the_tutorials_volume_is_found() {
        let mounts = "22 28 0:21 / /proc rw - proc proc rw\n30 28 8:1 /srv/store /opt/store rw - ext4 /dev/sda1 rw\n";
        let home = Some(Told { value: "/srv".into(), variable: "JAVA_OPTS" });
        let chosen = choose(&JavaOptions { home, ..JavaOptions::default() }, mounts, None);
        assert_eq!(
            (chosen.path.to_str(), chosen.reason.as_deref()),
            (Some("/srv/store"), Some("-Duser.home in JAVA_OPTS"))
        );
        assert_eq!(choose(&JavaOptions::default(), mounts, Some("/srv/me".into())).path, Path::new("/opt/store"));
        let nothing = DataDir { path: "./data".into(), reason: None };
        assert_eq!(choose(&JavaOptions::default(), "30 28 8:1 / /opt/store/deeper rw", None), nothing);
        let chosen = choose(&JavaOptions::default(), "", Some("/srv/me".into()));
        assert_eq!(chosen.path, Path::new("/srv/me/store"));
        assert!(chosen.reason.unwrap().contains("goes with the container"));
    }
}
