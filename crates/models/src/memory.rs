//! How much memory this machine has for models: what the kernel says, bounded by the control groups (version 1
//! and 2) that this process runs in.
//!
//! **Invariant:** a file that is missing or cannot be read as expected never makes the answer larger: it is left
//! out. Only a missing `/proc/meminfo` is an error.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The machine's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MachineMemory {
    /// What this process could ever have.
    pub total_bytes: u64,
    /// What it could have now, without swapping.
    pub available_bytes: u64,
    /// Whether a control group allows less than the machine has.
    pub is_limited: bool,
}

/// Reads the facts of this machine.
///
/// # Errors
/// `/proc/meminfo` cannot be read.
pub fn machine() -> io::Result<MachineMemory> {
    machine_at(Path::new("/"))
}

/// Reads the facts of a machine whose files are under `root`.
///
/// # Errors
/// `proc/meminfo` cannot be read.
pub fn machine_at(root: &Path) -> io::Result<MachineMemory> {
    let text = fs::read_to_string(root.join("proc/meminfo"))?;
    let missing = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/meminfo has no {what}"));
    let total_bytes = meminfo(&text, "MemTotal").ok_or_else(|| missing("MemTotal"))?;
    let available_bytes = meminfo(&text, "MemAvailable").or_else(|| meminfo(&text, "MemFree")).ok_or_else(|| missing("MemAvailable"))?;
    let mut facts = MachineMemory { total_bytes, available_bytes, is_limited: false };
    for (limit, used) in limits(root) {
        facts.is_limited |= limit < total_bytes;
        facts.total_bytes = facts.total_bytes.min(limit);
        facts.available_bytes = facts.available_bytes.min(limit.saturating_sub(used));
    }
    Ok(facts)
}

fn meminfo(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The names of the files of one version of control groups.
struct Hierarchy {
    mounts: &'static [&'static str],
    limit: &'static str,
    used: &'static str,
    /// Page cache that the kernel gives back first; it is counted as used, but is not in the way.
    reclaimable: &'static str,
}

const VERSION_1: Hierarchy = Hierarchy {
    mounts: &["sys/fs/cgroup/memory"],
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};
const VERSION_2: Hierarchy = Hierarchy {
    mounts: &["sys/fs/cgroup", "sys/fs/cgroup/unified"],
    limit: "memory.max",
    used: "memory.current",
    reclaimable: "inactive_file",
};

/// Limit and use of every control group that holds this process and has a limit.
fn limits(root: &Path) -> Vec<(u64, u64)> {
    let membership = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut found = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let hierarchy = match controllers {
            "" => VERSION_2,
            _ if controllers.split(',').any(|name| name == "memory") => VERSION_1,
            _ => continue,
        };
        for mount in hierarchy.mounts {
            found.extend(groups(&root.join(mount), path).iter().filter_map(|group| hierarchy.limit_of(group)));
        }
    }
    found
}

/// The folders from a process's control group up to the mount. Inside a container the path may be that of the
/// host; then only the mount itself is there.
fn groups(mount: &Path, path: &str) -> Vec<PathBuf> {
    let relative = path.trim_start_matches('/');
    let is_below = !relative.split('/').any(|part| part == "..");
    let group = if is_below { mount.join(relative) } else { mount.to_owned() };
    group.ancestors().take_while(|folder| folder.starts_with(mount)).map(Path::to_owned).collect()
}

impl Hierarchy {
    fn limit_of(&self, group: &Path) -> Option<(u64, u64)> {
        /// Version 1 writes "no limit" as a number near 2^63.
        const UNLIMITED: u64 = 1 << 60;
        let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
        let limit = number(self.limit).filter(|&limit| limit < UNLIMITED)?;
        let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let reclaimable = statistics.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            (name == self.reclaimable).then(|| value.trim().parse::<u64>().ok()).flatten()
        });
        let used = number(self.used).unwrap_or(0).saturating_sub(reclaimable.unwrap_or(0));
        Some((limit, used))
    }
}
