use std::path::Path;

use freehold_models::memory::{MachineMemory, machine, machine_at};

const GIB: u64 = 1 << 30;
const MEMINFO: &str = "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\n";

fn check(files: &[(&str, &str)], expect: MachineMemory) {
    let root = tempfile::tempdir().expect("a folder");
    for (path, text) in [("proc/meminfo", MEMINFO)].iter().chain(files) {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    assert_eq!(machine_at(root.path()).expect("facts"), expect, "{files:?}");
}

#[test]
fn limits_of_control_groups() {
    let free = MachineMemory { total_bytes: 16 * GIB, available_bytes: 8 * GIB, is_limited: false };
    check(&[], free);
    check(&[("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")], free);
    check(&[("proc/self/cgroup", "4:memory:/\n"), ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")], free);
    check(&[("proc/self/cgroup", "garbage\n0::/../..\n:::\n"), ("sys/fs/cgroup/memory.max", "x\n")], free);

    let limited = MachineMemory { total_bytes: 4 * GIB, available_bytes: 3 * GIB, is_limited: true };
    check(
        &[
            ("proc/self/cgroup", "0::/slice/service\n"),
            ("sys/fs/cgroup/slice/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/slice/memory.current", "2147483648\n"),
            ("sys/fs/cgroup/slice/memory.stat", "anon 5\ninactive_file 1073741824\n"),
            ("sys/fs/cgroup/slice/service/memory.max", "max\n"),
        ],
        limited,
    );
    check(
        &[
            ("proc/self/cgroup", "5:cpu:/x\n4:hugetlb,memory:/of/the/host\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "4294967296\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824\n"),
        ],
        limited,
    );
    check(
        &[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "4294967296\n"), ("sys/fs/cgroup/memory.current", "4294967296\n")],
        MachineMemory { available_bytes: 0, ..limited },
    );
}

#[test]
fn this_machine_has_memory() {
    let facts = machine().expect("facts");
    assert!(facts.available_bytes > 0 && facts.available_bytes <= facts.total_bytes);
}

#[test]
fn a_machine_that_says_nothing() {
    let root = tempfile::tempdir().expect("a folder");
    assert!(machine_at(root.path()).is_err());
    std::fs::create_dir(root.path().join("proc")).expect("a folder");
    std::fs::write(root.path().join("proc/meminfo"), "MemTotal: many\n").expect("a file");
    assert!(machine_at(root.path()).is_err());
}
