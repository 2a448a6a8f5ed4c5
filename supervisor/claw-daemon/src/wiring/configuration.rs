//! The configuration: plans and applies, in the words of the API.

use claw_core::plan::{Change, ChangeKind, FieldChange, ReloadClass};

use crate::api;
use crate::http::ports::{ConfigPorts, Current, Port};
use crate::reload::{Applied, Reloader};

pub(super) fn ports(reloader: &Reloader) -> ConfigPorts {
    let [current, replicas, containers, plan, apply] = [(); 5].map(|()| reloader.clone());
    ConfigPorts {
        current: std::sync::Arc::new(move || {
            let loaded = current.current();
            Current {
                fleet: std::sync::Arc::new(loaded.fleet.clone()),
                file: current.file().display().to_string(),
            }
        }),
        replicas: std::sync::Arc::new(move || std::sync::Arc::clone(&replicas.current().replicas)),
        container: std::sync::Arc::new(move |agent| {
            let loaded = containers.current();
            let spec = loaded.fleet.agents.get(agent)?;
            spec.launch.container.as_deref().map(Into::into)
        }),
        plan: Port::new(move |source| {
            let reloader = plan.clone();
            async move {
                Ok(api::Plan {
                    changes: changes(&reloader.plan(source).await?),
                })
            }
        }),
        apply: Port::new(move |source| {
            let reloader = apply.clone();
            async move {
                let Applied {
                    changes: planned,
                    held_back,
                } = reloader.apply(source).await?;
                Ok(api::Applied {
                    changes: changes(&planned),
                    held_back: held_back.iter().map(ToString::to_string).collect(),
                })
            }
        }),
    }
}

fn changes(changes: &[Change]) -> Vec<api::Change> {
    changes.iter().flat_map(rendered).collect()
}

/// One line per field, so that a reader sees which field is the reason for a restart.
fn rendered(change: &Change) -> Vec<api::Change> {
    let agent = Some(change.agent.to_string());
    let whole = |kind| api::Change {
        agent: agent.clone(),
        kind,
        class: api::ReloadClass::Restart,
        path: format!("agents.{}", change.agent),
        old: None,
        new: None,
    };
    match &change.kind {
        ChangeKind::Added => vec![whole(api::ChangeKind::Added)],
        ChangeKind::Removed => vec![whole(api::ChangeKind::Removed)],
        ChangeKind::Changed { fields } => fields
            .iter()
            .map(|field| changed(field, agent.clone()))
            .collect(),
    }
}

fn changed(field: &FieldChange, agent: Option<String>) -> api::Change {
    api::Change {
        agent,
        kind: api::ChangeKind::Changed,
        class: match field.class {
            ReloadClass::Live => api::ReloadClass::Live,
            ReloadClass::Restart => api::ReloadClass::Restart,
        },
        path: field.path.clone(),
        old: Some(field.old.clone().into()),
        new: Some(field.new.clone().into()),
    }
}
