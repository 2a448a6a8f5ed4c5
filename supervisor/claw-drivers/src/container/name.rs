//! How a container is known for ours: a name that is always the same, and labels.

use std::collections::HashMap;

use claw_core::{Generation, InstanceId, RunId};

/// The label that says whose project a container belongs to.
pub(super) const PROJECT: &str = "openclaw.project";
/// The label with the agent's name.
pub(super) const AGENT: &str = "openclaw.agent";
/// The label with the generation.
pub(super) const GENERATION: &str = "openclaw.generation";
/// The label with the run it was started for.
pub(super) const RUN: &str = "openclaw.run";

/// `openclaw-<project>-<agent>-<generation>`.
pub(super) fn container(project: &str, instance: &InstanceId) -> String {
    format!(
        "openclaw-{project}-{}-{}",
        instance.agent, instance.generation
    )
}

/// The labels of an instance's container.
pub(super) fn labels(
    project: &str,
    instance: &InstanceId,
    run: Option<RunId>,
) -> HashMap<String, String> {
    let mut labels = HashMap::from([
        (PROJECT.to_owned(), project.to_owned()),
        (AGENT.to_owned(), instance.agent.to_string()),
        (GENERATION.to_owned(), instance.generation.to_string()),
    ]);
    labels.extend(run.map(|run| (RUN.to_owned(), run.to_string())));
    labels
}

/// What leaves only this project's containers in a list or a stream of events.
pub(super) fn filter(project: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{PROJECT}={project}")])])
}

/// The instance that labels, or the attributes of an event, speak of.
pub(super) fn instance(project: &str, labels: &HashMap<String, String>) -> Option<InstanceId> {
    if labels.get(PROJECT)? != project {
        return None;
    }
    Some(InstanceId {
        agent: labels.get(AGENT)?.parse().ok()?,
        generation: Generation(labels.get(GENERATION)?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_lead_back_to_their_instance_and_only_in_their_project() {
        let of = InstanceId {
            agent: "web-2".parse().expect("a good name"),
            generation: Generation(17),
        };
        let labels = labels("abc", &of, None);
        assert_eq!(container("abc", &of), "openclaw-abc-web-2-17");
        assert_eq!(instance("abc", &labels), Some(of));
        assert_eq!(instance("abd", &labels), None);
    }
}
