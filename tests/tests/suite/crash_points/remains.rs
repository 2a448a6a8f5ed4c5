//! What must hold once a fleet has recovered, seen from outside.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fleet::{Fleet, Process, Waited, until};

/// What nobody owns is gone by then.
const TIDY: Duration = Duration::from_secs(20);

/// Makes the folder where agents, whoever they run as, leave a mark at the begin of each life.
pub(crate) fn make_marks(fleet: &Fleet) {
    let folder = fleet.path("lives");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
}

/// The file of an agent there.
pub(crate) fn marks(name: &str) -> String {
    format!("lives/{name}")
}

/// At most one copy of the agent lives at any time, and in the end it is the one that the
/// supervisor knows (I1). One whose shim died is known for a moment longer than it lives.
pub(crate) fn assert_one_copy(fleet: &Fleet, name: &str) {
    let first_step = format!("mark {} ", fleet.place(&marks(name)));
    until(&format!("one copy of {name} lives"), || {
        let main = fleet.await_main(name);
        let processes = fleet.processes().into_iter();
        let own = processes.filter(|process| !process.is_shim() && !process.is_spawner());
        let copies: Vec<Process> = own
            .filter(|process| process.command.contains(&first_step) && process.lives())
            .collect();
        assert!(copies.len() <= 1, "copies of {name}: {copies:?}");
        (copies == [main]).then_some(())
    });
}

/// Every generation that is over has one outcome, and no life began without one (I2).
pub(crate) fn assert_one_outcome_each(fleet: &Fleet, name: &str) {
    let mut ends = fleet.ends(name);
    // An end that the disk refused is written when it can be, behind later ones.
    ends.sort();
    let ended = ends.iter().map(|(generation, _)| *generation);
    let count = u64::try_from(ends.len()).unwrap();
    assert!(ended.eq(1..=count), "one end each of {name}: {ends:?}");
    let starts = fleet.lines(&marks(name));
    assert!(
        starts.len() <= ends.len() + 1,
        "{name} was started {} times: {ends:?}",
        starts.len()
    );
}

/// Nothing is left without an owner: no shim, no instance directory and no cgroup but those of
/// these instances that live (I3).
pub(crate) fn assert_no_leftovers(fleet: &Fleet, alive: &[&str]) {
    let mut waited = Waited::start();
    until("nothing is left of what is over", || {
        // Whoever ends again and again is at another generation with each look.
        let living = alive.iter().filter_map(|name| {
            let instance = fleet.agent(name).instance?;
            Some(format!("{name}-{}", instance.generation))
        });
        let expected: BTreeSet<String> = living.collect();
        let shims = fleet.processes().into_iter().filter(Process::is_shim);
        let (shims, instances) = (shims.count(), instances(&fleet.data().join("run")));
        let groups = groups(fleet, alive[0]);
        let counted = shims == alive.len() && expected.len() == alive.len();
        let tidy = counted && instances == expected && groups == expected;
        assert!(
            waited.total() < TIDY,
            "{shims} shims, {instances:?} and {groups:?} instead of {expected:?}"
        );
        tidy.then_some(())
    });
}

/// Instance directories, as `agent-generation`.
fn instances(run: &Path) -> BTreeSet<String> {
    let agents = names(run).into_iter();
    let of_agent = |agent: String| {
        let generations = names(&run.join(&agent)).into_iter();
        generations.map(move |generation| format!("{agent}-{generation}"))
    };
    agents.flat_map(of_agent).collect()
}

/// The cgroups beside that of a living agent, in all hierarchies; those that would be expected on
/// a machine that has none.
fn groups(fleet: &Fleet, steady: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = 0;
    for (controllers, group) in fleet.await_main(steady).groups() {
        let own = Path::new(group.trim_start_matches('/'));
        let is_ours = own
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(&format!("{steady}-")));
        if let (true, Some(folder)) = (is_ours, own.parent()) {
            folders += 1;
            found.extend(names(&hierarchy(&controllers).join(folder)));
        }
    }
    if folders == 0 {
        return instances(&fleet.data().join("run"));
    }
    found
}

fn hierarchy(controllers: &str) -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    // The hierarchy of version 2 has no controllers, and a folder of its own beside those of version 1.
    let unified = if controllers.is_empty() {
        "unified"
    } else {
        ""
    };
    let names = [
        controllers,
        controllers.trim_start_matches("name="),
        unified,
    ];
    let named = names.iter().filter(|name| !name.is_empty());
    let mut places = named.map(|name| root.join(name));
    let found = places.find(|place| place.is_dir());
    found.unwrap_or_else(|| root.to_owned())
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Nothing of ours has come to an end that is a bug.
pub(crate) fn assert_no_panic(fleet: &Fleet) {
    let said = fleet.said();
    assert!(!said.contains("panicked"), "{said}");
}
