//! A log file that begins anew when it has grown large, and keeps some of those before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Size at which a new file begins, and how many of those before are kept: `broker.log.1` is the newest of them. Stock
/// servers have 64 MiB too, and keep 10 of most.
const BYTES_MAX: u64 = 64 << 20;
const KEPT: u32 = 10;

/// The file that is written.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl LogFile {
    /// Opens the file, or makes it and its folder; lines are added to what is there.
    pub fn open(path: &Path) -> io::Result<LogFile> {
        LogFile::with_limit(path, BYTES_MAX)
    }

    fn with_limit(path: &Path, bytes_max: u64) -> io::Result<LogFile> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(LogFile { path: path.into(), file, bytes, bytes_max })
    }

    fn older(&self, age: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{age}"));
        name.into()
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        for age in (1..KEPT).rev() {
            // One that is not there leaves a gap, which is none.
            let _ = fs::rename(self.older(age), self.older(age + 1));
        }
        fs::rename(&self.path, self.older(1))?;
        self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Write for LogFile {
    /// Takes whole lines.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.bytes_max < self.bytes + line.len() as u64 && self.bytes != 0 {
            // Where no file can be made, the one there is grows on.
            let _ = self.begin_anew();
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_becomes_an_older_one_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs").join("broker.log");
        let mut log = LogFile::with_limit(&path, 10).unwrap();
        for number in 10..35 {
            log.write_all(format!("line{number}\n").as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(path.with_file_name(name)).ok();
        assert_eq!(read("broker.log").as_deref(), Some("line34\n"));
        assert_eq!(
            (read("broker.log.1").as_deref(), read("broker.log.10").as_deref()),
            (Some("line33\n"), Some("line24\n"))
        );
        assert_eq!(read("broker.log.11"), None);
        drop(log);
        LogFile::with_limit(&path, 100).unwrap().write_all(b"more\n").unwrap();
        assert_eq!(read("broker.log").as_deref(), Some("line34\nmore\n"));
    }
}
