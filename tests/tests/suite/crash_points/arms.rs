//! Arming points, and knowing whether somebody died there.

use std::fs;
use std::path::PathBuf;

use claw_failpoint::{MOST, Point, Side, Step, VARIABLE};

use super::remains::make_marks;
use crate::fleet::{Fleet, until};

/// The points of a fleet that are armed.
pub(super) struct Arms {
    folder: PathBuf,
}

impl Arms {
    /// Has the supervisors of a fleet look for armed points; `None`, with a word, when the program
    /// under test has none.
    pub(super) fn of(fleet: &mut Fleet, test: &str) -> Option<Self> {
        make_marks(fleet);
        let folder = fleet.path("points");
        fs::create_dir(&folder).unwrap();
        fleet.set_env(VARIABLE, folder.to_str().unwrap());
        let arms = Self { folder };
        let first = Point {
            side: Side::Before,
            step: Step::Start,
        };
        arms.arm(first, 1);
        let mut program = fleet.command();
        program.args(["version"]).env(VARIABLE, &arms.folder);
        program.output().unwrap();
        arms.disarm(first);
        if !arms.has_killed(first) {
            eprintln!(
                "SKIP crash_points::{test}: clawctl was built without failpoints; \
                 `cargo build -p clawctl -p claw-tests` makes one that has them"
            );
            return None;
        }
        arms.forget(first);
        Some(arms)
    }

    /// Whoever comes to the point for the time that `count` says dies.
    pub(super) fn arm(&self, point: Point, count: u32) {
        fs::write(self.folder.join(point.file(count)), "").unwrap();
    }

    /// Takes the arming back, if it is not too late.
    pub(super) fn disarm(&self, point: Point) {
        for left in 1..=MOST {
            fs::remove_file(self.folder.join(point.file(left))).ok();
        }
    }

    /// Whether somebody died there.
    pub(super) fn has_killed(&self, point: Point) -> bool {
        self.folder.join(point.file(0)).exists()
    }

    /// Waits until somebody died there.
    pub(super) fn await_death(&self, point: Point) {
        until(&format!("somebody dies {point}"), || {
            self.has_killed(point).then_some(())
        });
    }

    /// Removes the mark of a death.
    pub(super) fn forget(&self, point: Point) {
        fs::remove_file(self.folder.join(point.file(0))).unwrap();
    }
}
