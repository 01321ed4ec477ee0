//! What a broker would leave behind that breaks its promises, made by hand: the checker must notice each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::campaign::{Campaign, End};
use crate::chance::Chance;
use crate::message::{Id, Kind};
use crate::process::Flush;
use crate::violation::Violation;

/// A way to break a data folder between a kill and the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// The last writes of the commit log are gone, as if they had been acknowledged before they were made.
    LostTail,
    /// A byte of a body that was acknowledged is another.
    ChangedBody,
    /// Two messages have changed places, checksums and all.
    Swapped,
    /// The folder is as it was a life ago.
    OlderCopy,
    /// The saved group offsets are gone.
    LostOffsets,
}

const ALL: [Damage; 5] =
    [Damage::LostTail, Damage::ChangedBody, Damage::Swapped, Damage::OlderCopy, Damage::LostOffsets];

/// Breaks a folder in each way; fails when the checker finds nothing.
pub fn self_test(apogee: &Path, folder: &Path, chance: &mut Chance) -> anyhow::Result<()> {
    for damage in ALL {
        let violation = found(damage, apogee, &folder.join(format!("{damage:?}")), chance.split())?;
        println!("{damage:?}: found. {violation}");
    }
    Ok(())
}

/// What the checker says about a damage.
fn found(damage: Damage, apogee: &Path, folder: &Path, chance: Chance) -> anyhow::Result<Violation> {
    let mut campaign = Campaign::new(apogee.to_owned(), folder.to_owned(), Flush::Sync, chance)?;
    // Long enough for group offsets to be saved, where that matters.
    let ms = if damage == Damage::LostOffsets { 2_800 } else { 900 };
    campaign.live(Duration::from_millis(ms), End::Kill)?;
    campaign.verify().context("the folder was not in order before it was damaged")?;
    let data = campaign.data().clone();
    match damage {
        Damage::LostTail => cut_tail(&data)?,
        Damage::ChangedBody => change_body(&data)?,
        Damage::Swapped => swap_messages(&data)?,
        Damage::OlderCopy => {
            let copy = folder.join("copy");
            copy_folder(&data, &copy)?;
            campaign.live(Duration::from_millis(300), End::Kill)?;
            fs::remove_dir_all(&data)?;
            fs::rename(&copy, &data)?;
        }
        Damage::LostOffsets => fs::remove_dir_all(data.join("meta/sled"))?,
    }
    match campaign.verify() {
        Ok(()) => bail!("{damage:?} was not noticed"),
        Err(error) => error.downcast().with_context(|| format!("{damage:?} led to something else than a violation")),
    }
}

/// Segments of the commit log, oldest first.
fn segments(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(data.join("commitlog"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Zeroes the last 16 KiB that hold anything.
fn cut_tail(data: &Path) -> anyhow::Result<()> {
    for path in segments(data)?.iter().rev() {
        let mut bytes = fs::read(path)?;
        // A segment that was only just begun holds its header.
        if let Some(end) = bytes.iter().rposition(|byte| *byte != 0).filter(|end| 64 < *end) {
            let from = end.saturating_sub(16 << 10).max(64);
            bytes[from..=end].fill(0);
            fs::write(path, bytes)?;
            return Ok(());
        }
    }
    bail!("the commit log is empty")
}

/// Where the first plain message with a number lies: file, content, and place of its body.
fn find_body(data: &Path, number: u32) -> anyhow::Result<(PathBuf, Vec<u8>, usize)> {
    for path in segments(data)? {
        let bytes = fs::read(&path)?;
        for queue in 0..Kind::Plain.queues() {
            let body = Id { kind: Kind::Plain, life: 0, lane: 0, number, queue, not_before_ms: 0 }.body();
            if let Some(at) = bytes.windows(body.len()).position(|window| window == body) {
                return Ok((path, bytes, at));
            }
        }
    }
    bail!("message {number} is not in the commit log")
}

fn change_body(data: &Path) -> anyhow::Result<()> {
    let (path, mut bytes, at) = find_body(data, 5)?;
    bytes[at + 2] ^= 1;
    Ok(fs::write(path, bytes)?)
}

/// Exchanges bodies and checksums of two messages whose bodies are equally long.
fn swap_messages(data: &Path) -> anyhow::Result<()> {
    /// From a record's checksum to its body.
    const CRC_TO_BODY: usize = 80;
    let mut seen: Vec<(PathBuf, usize, usize)> = Vec::new();
    for number in 0..200 {
        let Ok((path, bytes, at)) = find_body(data, number) else { continue };
        let size = u32::from_be_bytes([bytes[at - 4], bytes[at - 3], bytes[at - 2], bytes[at - 1]]) as usize;
        if let Some((_, other, _)) = seen.iter().find(|(other, _, length)| *other == path && *length == size) {
            let mut bytes = bytes;
            for (from, length) in [(at, size), (at - CRC_TO_BODY, 4)] {
                let back = at - other;
                let (one, two) = bytes.split_at_mut(from);
                one[from - back..from - back + length].swap_with_slice(&mut two[..length]);
            }
            return Ok(fs::write(path, bytes)?);
        }
        seen.push((path, at, size));
    }
    bail!("no two messages are equally long")
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
